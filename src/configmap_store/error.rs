//! The errors of a store; the messages say what to do.

use crate::cluster::{ApiError, CONFIG_MAP_BYTES_MAX};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such ConfigMap.
    #[error("there is no ConfigMap {0}; a set creates it")]
    Missing(String),
    /// The API would refuse the key.
    #[error("{key:?} is not a key: {problem}")]
    BadKey {
        /// What was given.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The values are more than a ConfigMap holds.
    #[error(
        "the values of {config_map} would be {bytes} bytes in all, more than the {CONFIG_MAP_BYTES_MAX} a ConfigMap holds"
    )]
    TooLarge {
        /// Which ConfigMap.
        config_map: String,
        /// How large.
        bytes: usize,
    },
    /// The ConfigMap is immutable.
    #[error("the ConfigMap {0} is immutable: delete it, or write to another one")]
    Immutable(String),
    /// Another writer has changed it since it was read.
    #[error("the ConfigMap {0} has changed since it was read")]
    Changed(String),
    /// Other writers were ahead at every attempt.
    #[error("the ConfigMap {0} changed at every attempt to write it")]
    Contended(String),
    /// A call failed.
    #[error("the ConfigMap {config_map}: {source}")]
    Api {
        /// Which ConfigMap.
        config_map: String,
        /// Why.
        source: ApiError,
    },
}
