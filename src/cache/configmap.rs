//! The cache ConfigMap through the API: reads its document, and writes a scan to it.
//!
//! Several replicas and `pushroll rebuild` write it. The precondition of each write is the resourceVersion that was read,
//! and of two scans the newer one stays.

mod both_forms;
mod compare;
mod error;

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::off_worker::off_worker;
use super::scan::Seen;
use crate::cluster::{ApiError, Attempts, CONFIG_MAP_BYTES_MAX, Cluster, ConfigMapObject};
use crate::index::document::stored::{Stored, gzip_key};
use crate::index::document::{Document, Head, Images};

pub use error::{ReadError, WriteError};

/// The field manager of what we write to the cache ConfigMap.
pub(crate) const FIELD_MANAGER: &str = "pushroll";
/// A document with the same images is written again when its head is this much older: only the time in it changes.
pub const HEAD_REFRESH: Duration = Duration::from_secs(300);
/// Few: other writers that are ahead of us write what we want written.
pub(super) const ATTEMPTS: u32 = 5;

/// The ConfigMap that holds the document, and its key.
#[derive(Debug, Clone)]
pub struct CacheConfigMap {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key of the document.
    pub key: String,
}

/// What a write came to, or would come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// The images differ: written.
    Changed,
    /// The same images with an old head: written. For users that is no change.
    #[serde(rename = "unchanged")]
    HeadRenewed,
    /// The same images with a recent head: not written.
    Unchanged,
    /// There is a newer scan, which stays: not written.
    NewerKept,
}

/// What a write has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteBack {
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

impl Written {
    /// Whether something is written.
    pub(super) fn is_write(self) -> bool {
        matches!(self, Self::Changed | Self::HeadRenewed)
    }
}

impl CacheConfigMap {
    /// Reads the document.
    ///
    /// # Errors
    /// The call failed. A missing ConfigMap or document is no error, but a result.
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

    /// The document as the object holds it: plain or compressed.
    pub fn stored(&self, object: &ConfigMapObject) -> Option<Stored> {
        if let Some(text) = object.data.get(&self.key) {
            return Some(Stored::Plain(text.clone().into_bytes()));
        }
        let bytes = |base64: &String| STANDARD.decode(base64).unwrap_or_default();
        if let Some(base64) = object.binary_data.get(&gzip_key(&self.key)) {
            return Some(Stored::Gzip(bytes(base64)));
        }
        // `kubectl create configmap --from-file` puts a file here that is not UTF-8.
        object.binary_data.get(&self.key).map(|base64| Stored::Plain(bytes(base64)))
    }

    /// The size of all other values of the ConfigMap, which count against the same limit.
    pub fn other_values_bytes(&self, object: Option<&ConfigMapObject>) -> usize {
        let Some(object) = object else { return 0 };
        let ours = [&self.key, &gzip_key(&self.key)].map(|key| object.value_bytes(key)).iter().sum();
        object.values_bytes().saturating_sub(ours)
    }

    /// Writes what was seen, `stored` being the object as last read. A missing ConfigMap is created. With `dry_run` nothing
    /// is written, and the answer is what would be.
    ///
    /// # Errors
    /// [`WriteError`] says what to do.
    pub async fn write(
        &self,
        cluster: &Cluster,
        seen: &Seen<'_>,
        mut stored: Option<ConfigMapObject>,
        dry_run: bool,
    ) -> Result<WriteBack, WriteError> {
        let mut document = None;
        let mut attempts = Attempts::new(ATTEMPTS, Duration::ZERO);
        while attempts.next().await {
            if attempts.is_repeated() {
                let read = cluster.get_config_map(&self.namespace, &self.name).await;
                stored = read.map_err(|error| self.api_error(error))?;
                if !seen.unseen.is_empty() {
                    // Another writer may know more of what we have not seen.
                    document = None;
                }
            }
            let (head, images) = self.over(stored.as_ref(), seen);
            let written = self.write_over(stored.as_ref(), cluster, &head, &images, &mut document, dry_run).await?;
            if let Some(write_back) = written {
                return Ok(write_back);
            }
        }
        Err(WriteError::Contended(self.to_string()))
    }

    /// One attempt to write over `stored`; `None` where that has changed meanwhile. `document` keeps the encoded
    /// document for the next attempt.
    async fn write_over(
        &self,
        stored: Option<&ConfigMapObject>,
        cluster: &Cluster,
        head: &Head,
        images: &Images,
        document: &mut Option<Stored>,
        dry_run: bool,
    ) -> Result<Option<WriteBack>, WriteError> {
        let written = self.compare(stored, head, images)?;
        let others = self.other_values_bytes(stored);
        let write_back = |document_bytes| {
            let values_bytes = document_bytes + others;
            WriteBack { written, document_bytes, values_bytes, resource_version: None }
        };
        if !written.is_write() {
            return Ok(Some(write_back(stored.map_or(0, |object| object.values_bytes().saturating_sub(others)))));
        }
        // Most scans change nothing, and compressing takes longest: so it is done only now.
        let document = &*document.get_or_insert_with(|| off_worker(|| Stored::of(Document::encode(head, images))));
        let write_back = write_back(document.len());
        if write_back.values_bytes > CONFIG_MAP_BYTES_MAX {
            return Err(WriteError::TooLarge { config_map: self.to_string(), bytes: write_back.values_bytes });
        }
        if dry_run {
            return Ok(Some(write_back));
        }
        let (namespace, name) = (&self.namespace, &self.name);
        let members = self.members(document, stored);
        let done = match stored {
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
                Ok(Some(WriteBack { resource_version, ..write_back }))
            }
            Err(ApiError::Conflict(_)) => Ok(None),
            // Deleted between our GET and our PATCH: the next attempt creates it. Where it was missing before, it is the
            // namespace that is missing, and stays so.
            Err(ApiError::NotFound(_)) if stored.is_some() => Ok(None),
            Err(error) => Err(self.api_error(error)),
        }
    }

    fn api_error(&self, source: ApiError) -> WriteError {
        WriteError::Api { config_map: self.to_string(), source }
    }

    /// The members of a write. Over an object that holds another form of the document (plain, compressed), that form's key
    /// is removed: readers must not find two documents.
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

    /// The head and the images of a document of what was seen, over the one of the object.
    pub(super) fn over<'a>(&self, stored: Option<&ConfigMapObject>, seen: &Seen<'a>) -> (Head, Cow<'a, Images>) {
        off_worker(|| seen.over(|| self.stored(stored?)))
    }

    /// What a write over `stored` comes to. Nothing is written.
    pub(super) fn compare(
        &self,
        stored: Option<&ConfigMapObject>,
        head: &Head,
        images: &Images,
    ) -> Result<Written, WriteError> {
        off_worker(|| {
            let json = stored.and_then(|object| self.stored(object)).and_then(|stored| stored.into_json().ok());
            json.map_or(Ok(Written::Changed), |json| self.compare_json(&json, head, images))
        })
    }
}

impl std::fmt::Display for CacheConfigMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
