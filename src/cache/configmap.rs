//! The cache ConfigMap through the API: reading its document, and writing a scan back.
//!
//! Several replicas and `pushroll rebuild` write it: each write has the resourceVersion it was decided on as
//! precondition, and of two scans the newer stays.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cluster::{ApiError, Cluster, ConfigMapObject};
use crate::index::document::{Document, DocumentError, Head, Images};

/// The field manager of what we write to the cache ConfigMap.
const FIELD_MANAGER: &str = "pushroll";
/// A document whose images are unchanged is written again for its head alone when that is this much older.
const HEAD_REFRESH: Duration = Duration::from_secs(300);
/// The API's limit of a ConfigMap's values (Kubernetes: `MaxSecretSize`, 1 MiB).
pub const CONFIG_MAP_BYTES_MAX: usize = 1_048_576;
/// A `Date` header has whole seconds: it may be up to this much later.
const DATE_RESOLUTION: SignedDuration = SignedDuration::from_secs(1);
/// Writers that keep overtaking us are writing what we want written.
const ATTEMPTS: usize = 5;

/// Which ConfigMap, and which of its keys.
#[derive(Debug, Clone)]
pub struct CacheConfigMap {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key of the document.
    pub key: String,
}

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// The images differ: written.
    Changed,
    /// The same images; at most the head was written.
    Unchanged,
    /// Someone has written a newer scan: it stays.
    NewerKept,
}

/// Why the ConfigMap gives no index.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The call failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is none.
    #[error("there is no ConfigMap {0}")]
    Missing(String),
    /// It has no such key.
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
    /// It can never change.
    #[error("the ConfigMap {0} is immutable: delete it, and `pushroll rebuild` makes it anew")]
    Immutable(String),
    /// The API would refuse it.
    #[error(
        "the document for the ConfigMap {config_map} has {bytes} bytes, more than the {CONFIG_MAP_BYTES_MAX} a \
         ConfigMap holds: run one pushroll for each set of namespaces, each with --namespaces and a ConfigMap of its own"
    )]
    TooLarge {
        /// Which ConfigMap.
        config_map: String,
        /// The document's size.
        bytes: usize,
    },
    /// Overtaken at every attempt.
    #[error("the ConfigMap {0} changed at every attempt to write it")]
    Contended(String),
}

/// A ConfigMap that was read: its document and the object, for a write that follows.
#[derive(Debug)]
pub struct Stored {
    /// The object; `None` where it does not exist.
    pub object: Option<ConfigMapObject>,
    /// Its document, or why there is none.
    pub document: Result<Document, ReadError>,
}

impl CacheConfigMap {
    /// Reads the document.
    ///
    /// # Errors
    /// Where no answer came; that there is no ConfigMap or no document is an answer.
    pub async fn read(&self, cluster: &Cluster) -> Result<Stored, ApiError> {
        let object = cluster.get_config_map(&self.namespace, &self.name).await?;
        let document = match &object {
            None => Err(ReadError::Missing(self.to_string())),
            Some(object) => self.document(object),
        };
        Ok(Stored { object, document })
    }

    fn document(&self, object: &ConfigMapObject) -> Result<Document, ReadError> {
        let (config_map, key) = (self.to_string(), self.key.clone());
        match object.data.get(&self.key) {
            None => Err(ReadError::NoKey { config_map, key }),
            Some(text) => {
                Document::decode(text.as_bytes()).map_err(|source| ReadError::Document { config_map, key, source })
            }
        }
    }

    /// Writes what a scan has found, `stored` being the object as last read. A ConfigMap that is missing is
    /// created. With `dry_run` nothing is written, and the answer is what would be.
    ///
    /// # Errors
    /// [`WriteError`] says what to do.
    pub async fn write(
        &self,
        cluster: &Cluster,
        head: &Head,
        images: &Images,
        mut stored: Option<ConfigMapObject>,
        dry_run: bool,
    ) -> Result<Written, WriteError> {
        let document = Document::encode(head, images);
        let failed = |source| WriteError::Api { config_map: self.to_string(), source };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                stored = cluster.get_config_map(&self.namespace, &self.name).await.map_err(failed)?;
            }
            let now = cluster.server_clock().passed();
            let (written, must_write) = self.judge(stored.as_ref(), head, images, now);
            if !must_write || dry_run {
                return Ok(written);
            }
            if document.len() > CONFIG_MAP_BYTES_MAX {
                return Err(WriteError::TooLarge { config_map: self.to_string(), bytes: document.len() });
            }
            let done = match &stored {
                None => {
                    let (namespace, name) = (&self.namespace, &self.name);
                    cluster.create_config_map(namespace, name, FIELD_MANAGER, &self.key, &document).await
                }
                Some(object) if object.immutable => return Err(WriteError::Immutable(self.to_string())),
                Some(object) => {
                    let version = &object.metadata.resource_version;
                    let (namespace, name) = (&self.namespace, &self.name);
                    cluster.set_config_map_key(namespace, name, FIELD_MANAGER, version, &self.key, &document).await
                }
            };
            match done {
                Ok(()) => return Ok(written),
                Err(ApiError::Conflict(_)) => {}
                // Deleted between our GET and our PATCH: it is made anew. A namespace that is missing stays so.
                Err(ApiError::NotFound(_)) if stored.is_some() => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Err(WriteError::Contended(self.to_string()))
    }

    /// What writing over `stored` comes to, and whether it must be done at all; `now` is the API server's last `Date`.
    fn judge(
        &self,
        stored: Option<&ConfigMapObject>,
        head: &Head,
        images: &Images,
        now: Option<Timestamp>,
    ) -> (Written, bool) {
        let Some(text) = stored.and_then(|object| object.data.get(&self.key)) else { return (Written::Changed, true) };
        let stored_head = Document::decode(text.as_bytes()).map(|document| document.head).unwrap_or_default();
        let same_scope = stored_head.scope == head.scope;
        // A time in the future, by hand or from a clock that was ahead, says nothing: it must not keep scans out.
        let stored_as_of =
            stored_head.as_of.filter(|as_of| now.is_none_or(|now| as_of.duration_since(now) < DATE_RESOLUTION));
        if same_scope && stored_as_of > head.as_of {
            return (Written::NewerKept, false);
        }
        if Document::images(text.as_bytes()).as_ref() != Some(images) {
            return (Written::Changed, true);
        }
        let head_is_recent = same_scope
            && match (stored_as_of, head.as_of) {
                (Some(stored), Some(new)) => stored.checked_add(HEAD_REFRESH).is_ok_and(|due| new < due),
                (_, new) => new.is_none(),
            };
        (Written::Unchanged, !head_is_recent)
    }
}

impl std::fmt::Display for CacheConfigMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
