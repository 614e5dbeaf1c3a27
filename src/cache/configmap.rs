//! The cache ConfigMap through the API: reading its document, and writing a scan back.
//!
//! Several replicas and `pushroll rebuild` write it: each write has the resourceVersion it was decided on as
//! precondition, and of two scans the newer stays.

mod error;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::off_worker::off_worker;
use crate::cluster::{ApiError, Cluster, ConfigMapObject};
use crate::index::document::stored::{Stored, gzip_key};
use crate::index::document::{Document, DocumentError, Head, Images};

pub use error::{ReadError, WriteError};

/// The field manager of what we write to the cache ConfigMap.
pub(super) const FIELD_MANAGER: &str = "pushroll";
/// A document whose images are unchanged is written again for its head alone when that is this much older.
pub const HEAD_REFRESH: Duration = Duration::from_secs(300);
/// Nobody's scan takes longer.
const SCAN_DURATION_MAX: Duration = Duration::from_secs(300);
/// The API's limit of a ConfigMap's values (Kubernetes: `MaxSecretSize`, 1 MiB).
pub const CONFIG_MAP_BYTES_MAX: usize = 1_048_576;
/// Writers that keep overtaking us are writing what we want written.
pub(super) const ATTEMPTS: usize = 5;

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

/// What a write has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it came to.
    pub written: Written,
    /// Size of the document that is there now (in a dry run: that would be), as it is stored.
    pub document_bytes: usize,
    /// Size of all values of the ConfigMap.
    pub values_bytes: usize,
    /// The resourceVersion of what was written; `None` where nothing was.
    pub resource_version: Option<String>,
}

/// A ConfigMap that was read: its document and the object, for a write that follows.
#[derive(Debug)]
pub struct ReadConfigMap {
    /// The object; `None` where it does not exist.
    pub object: Option<ConfigMapObject>,
    /// Its document, or why there is none.
    pub document: Result<Document, ReadError>,
    /// The document's size as stored, 0 where there is none.
    pub bytes: usize,
}

impl CacheConfigMap {
    /// Reads the document.
    ///
    /// # Errors
    /// Where no answer came; that there is no ConfigMap or no document is an answer.
    pub async fn read(&self, cluster: &Cluster) -> Result<ReadConfigMap, ApiError> {
        let object = cluster.get_config_map(&self.namespace, &self.name).await?;
        let (document, bytes) = match &object {
            None => (Err(ReadError::Missing(self.to_string())), 0),
            Some(object) => match self.stored(object) {
                None => (Err(ReadError::NoKey { config_map: self.to_string(), key: self.key.clone() }), 0),
                Some(stored) => {
                    let bytes = stored.len();
                    let (config_map, key) = (self.to_string(), self.key.clone());
                    let document = off_worker(|| stored.decode());
                    (document.map_err(|source| ReadError::Document { config_map, key, source }), bytes)
                }
            },
        };
        Ok(ReadConfigMap { object, document, bytes })
    }

    /// The document as it stands in the object, in whichever form.
    pub fn stored(&self, object: &ConfigMapObject) -> Option<Stored> {
        if let Some(text) = object.data.get(&self.key) {
            return Some(Stored::Plain(text.clone().into_bytes()));
        }
        let bytes = |base64: &String| STANDARD.decode(base64).unwrap_or_default();
        if let Some(base64) = object.binary_data.get(&gzip_key(&self.key)) {
            return Some(Stored::Gzip(bytes(base64)));
        }
        // `kubectl create configmap --from-file` puts here what is not UTF-8.
        object.binary_data.get(&self.key).map(|base64| Stored::Plain(bytes(base64)))
    }

    /// What the ConfigMap holds besides the document, in whichever form: it takes of the same limit.
    pub fn other_values_bytes(&self, object: Option<&ConfigMapObject>) -> usize {
        let Some(object) = object else { return 0 };
        let ours = [&self.key, &gzip_key(&self.key)].map(|key| object.value_bytes(key)).iter().sum();
        object.values_bytes().saturating_sub(ours)
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
    ) -> Result<Outcome, WriteError> {
        let mut document = None;
        let failed = |source| WriteError::Api { config_map: self.to_string(), source };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                stored = cluster.get_config_map(&self.namespace, &self.name).await.map_err(failed)?;
            }
            let (written, must_write) = self.judge(stored.as_ref(), head, images)?;
            let others = self.other_values_bytes(stored.as_ref());
            let outcome = |document_bytes| Outcome {
                written,
                document_bytes,
                values_bytes: document_bytes + others,
                resource_version: None,
            };
            if !must_write {
                let of_object = |object: &ConfigMapObject| object.values_bytes().saturating_sub(others);
                return Ok(outcome(stored.as_ref().map_or(0, of_object)));
            }
            // Only now: most scans change nothing, and compressing takes longest.
            let document = &*document.get_or_insert_with(|| off_worker(|| Stored::of(Document::encode(head, images))));
            let outcome = outcome(document.len());
            if outcome.values_bytes > CONFIG_MAP_BYTES_MAX {
                return Err(WriteError::TooLarge { config_map: self.to_string(), bytes: outcome.values_bytes });
            }
            if dry_run {
                return Ok(outcome);
            }
            let (namespace, name) = (&self.namespace, &self.name);
            let members = self.members(document, stored.as_ref());
            let done = match &stored {
                None => cluster.create_config_map(namespace, name, FIELD_MANAGER, members).await,
                Some(object) if object.immutable => {
                    return Err(WriteError::Immutable { namespace: namespace.clone(), name: name.clone() });
                }
                Some(object) => {
                    let version = &object.metadata.resource_version;
                    cluster.merge_config_map(namespace, name, FIELD_MANAGER, Some(version), members).await
                }
            };
            match done {
                Ok(object) => {
                    let resource_version = Some(object.metadata.resource_version);
                    return Ok(Outcome { resource_version, ..outcome });
                }
                Err(ApiError::Conflict(_)) => {}
                // Deleted between our GET and our PATCH: it is made anew. A namespace that is missing stays so.
                Err(ApiError::NotFound(_)) if stored.is_some() => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Err(WriteError::Contended(self.to_string()))
    }

    /// The document in its form; over what is there, without the other form's key: one write, one truth.
    pub(super) fn members(&self, document: &Stored, over: Option<&ConfigMapObject>) -> Value {
        let gzip_key = gzip_key(&self.key);
        let mut members = match document {
            Stored::Plain(json) => json!({"data": {&self.key: String::from_utf8_lossy(json)}}),
            Stored::Gzip(bytes) => json!({"binaryData": {&gzip_key: STANDARD.encode(bytes)}}),
        };
        let Some(over) = over else { return members };
        let stale = [
            ("data", &self.key, over.data.contains_key(&self.key)),
            ("binaryData", &self.key, over.binary_data.contains_key(&self.key)),
            ("binaryData", &gzip_key, over.binary_data.contains_key(&gzip_key)),
        ];
        for (field, key, _) in stale.iter().filter(|(_, _, is_there)| *is_there) {
            if members[field][key.as_str()].is_null() {
                members[field][key.as_str()] = Value::Null;
            }
        }
        members
    }

    /// What writing over `stored` comes to, and whether it must be done at all.
    pub(super) fn judge(
        &self,
        stored: Option<&ConfigMapObject>,
        head: &Head,
        images: &Images,
    ) -> Result<(Written, bool), WriteError> {
        off_worker(|| self.compare(stored, head, images))
    }

    fn compare(
        &self,
        stored: Option<&ConfigMapObject>,
        head: &Head,
        images: &Images,
    ) -> Result<(Written, bool), WriteError> {
        let changed = Ok((Written::Changed, true));
        let Some(stored) = stored.and_then(|object| self.stored(object)) else { return changed };
        let Ok(json) = stored.into_json() else { return changed };
        let stored_head = match Document::decode(&json) {
            Ok(document) => document.head,
            Err(error @ DocumentError::TooNew { .. }) => {
                return Err(WriteError::TooNew { config_map: self.to_string(), reason: error.to_string() });
            }
            Err(_) => return changed,
        };
        let (old, new) = (stored_head.scope.as_ref(), head.scope.as_ref());
        if old.zip(new).is_some_and(|(old, new)| old.covers(new) && !new.covers(old)) {
            return Err(WriteError::Narrower(self.to_string()));
        }
        if old == new && is_newer(&stored_head, head) {
            return Ok((Written::NewerKept, false));
        }
        if Document::images(&json).as_ref() != Some(images) {
            return changed;
        }
        let head_is_recent = old == new
            && match (stored_head.as_of, head.as_of) {
                (Some(stored), Some(new)) => {
                    stored <= new && stored.checked_add(HEAD_REFRESH).is_ok_and(|due| new < due)
                }
                (_, new) => new.is_none(),
            };
        Ok((Written::Unchanged, !head_is_recent))
    }
}

/// Whether the stored scan began after ours. One that says it began long after ours is from a clock that was wrong,
/// and must not shut out every scan until then.
fn is_newer(stored: &Head, ours: &Head) -> bool {
    match (stored.as_of, ours.as_of) {
        (Some(stored), Some(ours)) => {
            stored > ours && ours.checked_add(SCAN_DURATION_MAX).is_ok_and(|latest| stored <= latest)
        }
        (_, None) | (None, _) => false,
    }
}

impl std::fmt::Display for CacheConfigMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
