//! The errors of the cache ConfigMap; each message says what to do.

use crate::cache::capacity::REMEDY;
use crate::cluster::{ApiError, CONFIG_MAP_BYTES_MAX};
use crate::index::document::DocumentError;

/// Why the ConfigMap gives no index.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The call failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The ConfigMap does not exist.
    #[error("there is no ConfigMap {0}")]
    Missing(String),
    /// The ConfigMap has no such key.
    #[error("the ConfigMap {config_map} has no key {key}")]
    NoKey {
        /// Which ConfigMap.
        config_map: String,
        /// Which key.
        key: String,
    },
    /// The document cannot be used.
    #[error("the ConfigMap {config_map}, {key}: {source}")]
    Document {
        /// Which ConfigMap.
        config_map: String,
        /// Which key.
        key: String,
        /// What is wrong with it.
        source: DocumentError,
    },
}

/// Why a scan was not written back.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A call failed.
    #[error("the ConfigMap {config_map} was not written: {source}")]
    Api {
        /// Which ConfigMap.
        config_map: String,
        /// Why.
        source: ApiError,
    },
    /// The ConfigMap is immutable.
    #[error(
        "the ConfigMap {namespace}/{name} is immutable, and stays as it is: `kubectl -n {namespace} delete configmap \
         {name}`, then `pushroll rebuild` makes it anew; restart the pods that mount it, which do not follow; or write \
         it under new names and roll the pods onto them: `pushroll rebuild --immutable --set-volume NAMESPACE/KIND/NAME`"
    )]
    Immutable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The API would refuse it.
    #[error(
        "the ConfigMap {config_map} was not written: its values would take {bytes} bytes, more than the \
         {CONFIG_MAP_BYTES_MAX} that a ConfigMap holds: {REMEDY}"
    )]
    TooLarge {
        /// Which ConfigMap.
        config_map: String,
        /// The size of all its values after the write.
        bytes: usize,
    },
    /// A newer pushroll has written the document.
    #[error("the ConfigMap {config_map} was not written: {reason}")]
    TooNew {
        /// Which ConfigMap.
        config_map: String,
        /// Which version.
        reason: String,
    },
    /// The document is a scan of more namespaces than ours.
    #[error(
        "the ConfigMap {0} holds a scan of more namespaces than this one: give each pushroll with --namespaces a \
         ConfigMap of its own (--cache-configmap), or delete this one if nobody else needs it"
    )]
    Narrower(String),
    /// The name is longer than the label of its versions can be.
    #[error(
        "the versions of a cache are labelled with its name, and {0} is longer than a label holds: choose a name of at \
         most 63 characters (--cache-configmap)"
    )]
    NameTooLong(String),
    /// A ConfigMap of that name was not made by pushroll.
    #[error(
        "the ConfigMap {0} exists and is not the version that its name says (its label, its content, or not immutable): \
         delete it"
    )]
    NotThatVersion(String),
    /// An old version could not be deleted.
    #[error("the old version {config_map} was not deleted: {source}")]
    NotDeleted {
        /// Which ConfigMap.
        config_map: String,
        /// Why.
        source: ApiError,
    },
    /// It is not known which old versions are mounted.
    #[error("no old version was deleted, because it is not known which of them are mounted: {source}")]
    UseUnknown {
        /// Why.
        source: ApiError,
    },
    /// Other writers were ahead at every attempt.
    #[error("the ConfigMap {0} changed at every attempt to write it")]
    Contended(String),
}
