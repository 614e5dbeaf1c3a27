//! What can go wrong with a store, each with what to do.

use super::VALUES_BYTES_MAX;
use crate::cluster::ApiError;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such ConfigMap.
    #[error("there is no ConfigMap {0}; a set creates it")]
    Missing(String),
    /// The key is none.
    #[error("{key:?} is not a key: {problem}")]
    BadKey {
        /// What was given.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The values would not fit.
    #[error(
        "the values of {config_map} would be {bytes} bytes in all, more than the {VALUES_BYTES_MAX} a ConfigMap holds"
    )]
    TooLarge {
        /// Which ConfigMap.
        config_map: String,
        /// How large.
        bytes: usize,
    },
    /// It can never change.
    #[error("the ConfigMap {0} is immutable: delete it, or write to another one")]
    Immutable(String),
    /// It has changed since it was looked at.
    #[error("the ConfigMap {0} has changed since it was read")]
    Changed(String),
    /// Others were faster at every attempt.
    #[error("the ConfigMap {0} changed at every attempt to write it")]
    Contended(String),
    /// The API server did not do it.
    #[error("the ConfigMap {config_map}: {source}")]
    Api {
        /// Which ConfigMap.
        config_map: String,
        /// Why.
        source: ApiError,
    },
}
