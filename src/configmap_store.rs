//! A key-value store over a ConfigMap, usable on its own.
//!
//! A set is a merge patch of its own key, so writers of different keys never conflict, and of two writers of one
//! key the later wins; [`ConfigMapStore::compare_and_set`] is for writers that must not overwrite. All else in the
//! object (labels, annotations, other keys) stays.
//!
//! UTF-8 values go to `data`, others to `binaryData`; readers see one set of keys. A key that this store has seen in
//! `binaryData` stays there, where its reader looks for it.
//!
//! Limits are checked before the API is asked (Kubernetes: `pkg/apis/core/validation`, `ValidateConfigMap`):
//! keys of at most 253 letters, digits, `-`, `_` and `.`; values of 1,048,576 bytes in all.

mod error;
mod rules;
mod snapshot;
#[cfg(test)]
mod tests;
mod values;
mod verify;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cluster::{ApiError, Attempts, Cluster, ConfigMapObject};
pub use error::StoreError;
pub use snapshot::Snapshot;
pub use values::Values;
use values::{patch_of, without_nulls};
pub use verify::{Verification, Verified};

/// The field manager of what a store writes.
const FIELD_MANAGER: &str = "pushroll-store";
/// Other writers may create, delete and change the ConfigMap meanwhile; each attempt is a PATCH or a create.
const ATTEMPTS: u32 = 20;
/// The API server tries a PATCH without precondition 5 times itself before it answers 409 (Kubernetes:
/// `MaxRetryWhenPatchConflicts`): a 409 means that many are writing.
const PAUSE: Duration = Duration::from_millis(10);

/// A key-value store over one ConfigMap.
#[derive(Debug)]
pub struct ConfigMapStore {
    cluster: Cluster,
    namespace: String,
    name: String,
    cache: Option<Cache>,
    /// The keys of `binaryData` when the object was last seen.
    binary_keys: Mutex<BTreeSet<String>>,
    /// Writes of one store go one by one: in parallel they would only make the API server try again.
    writing: tokio::sync::Mutex<()>,
}

/// What was read last, for as long as it may be used.
#[derive(Debug)]
struct Cache {
    max_age: Duration,
    read: Mutex<Option<(Instant, Snapshot)>>,
}

/// What a merge does where the ConfigMap does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// Creates it.
    Create,
    /// Creates it without trying the merge first: a moment ago it did not exist.
    CreateFirst,
    /// Nothing.
    Leave,
}

impl ConfigMapStore {
    /// A store over this ConfigMap. No call is made; it need not exist.
    pub fn new(cluster: Cluster, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            cluster,
            namespace: namespace.into(),
            name: name.into(),
            cache: None,
            binary_keys: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Reads may be answered from what was read at most `max_age` ago, or written since by this store. Writes
    /// never trust it: another writer may have been there.
    #[must_use]
    pub fn with_cache(mut self, max_age: Duration) -> Self {
        self.cache = Some(Cache { max_age, read: Mutex::default() });
        self
    }

    /// All keys, sorted; none where there is no ConfigMap.
    ///
    /// # Errors
    /// [`StoreError::Api`]
    pub async fn keys(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.snapshot().await?.map_or_else(Vec::new, |snapshot| snapshot.values.into_keys().collect()))
    }

    /// The value of a key; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], [`StoreError::Api`]
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        rules::check_key(key)?;
        Ok(self.snapshot().await?.and_then(|mut snapshot| snapshot.values.remove(key)))
    }

    /// Everything; `None` where there is no ConfigMap.
    ///
    /// # Errors
    /// [`StoreError::Api`]
    pub async fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        if let Some(cache) = &self.cache
            && let Some((read, snapshot)) = &*cache.read.lock()
            && read.elapsed() < cache.max_age
        {
            return Ok(Some(snapshot.clone()));
        }
        self.read().await
    }

    /// Sets values, all in one write, if any of them differs; creates the ConfigMap. Returns whether it wrote.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was written.
    pub async fn set(&self, values: &Values) -> Result<bool, StoreError> {
        values.keys().try_for_each(|key| rules::check_key(key))?;
        let _turn = self.writing.lock().await;
        let current = self.read().await?;
        let known = current.as_ref().map(|snapshot| &snapshot.values);
        if values.iter().all(|(key, value)| known.is_some_and(|known| known.get(key) == Some(value))) {
            return Ok(false);
        }
        rules::check_size(
            &self.to_string(),
            known.into_iter().flatten().filter(|(key, _)| !values.contains_key(*key)),
            values,
        )?;
        let absent = if current.is_some() { Absent::Create } else { Absent::CreateFirst };
        self.merge(self.patch_of(values), absent).await?;
        Ok(true)
    }

    /// Sets values without looking first: one call, and no permission to read is needed.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was written.
    pub async fn force_set(&self, values: &Values) -> Result<(), StoreError> {
        values.keys().try_for_each(|key| rules::check_key(key))?;
        rules::check_size(&self.to_string(), std::iter::empty(), values)?;
        let _turn = self.writing.lock().await;
        self.merge(self.patch_of(values), Absent::Create).await.map(drop)
    }

    /// Sets values and removes keys in one write, without looking first. Creates the ConfigMap if there is a value to
    /// set. Returns what the ConfigMap then holds; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was written.
    pub async fn update(&self, set: &Values, remove: &[String]) -> Result<Option<Snapshot>, StoreError> {
        set.keys().chain(remove).try_for_each(|key| rules::check_key(key))?;
        rules::check_size(&self.to_string(), std::iter::empty(), set)?;
        let mut patch = self.patch_of(set);
        for key in remove.iter().filter(|key| !set.contains_key(*key)) {
            patch["data"][key] = Value::Null;
            patch["binaryData"][key] = Value::Null;
        }
        let _turn = self.writing.lock().await;
        self.merge(patch, if set.is_empty() { Absent::Leave } else { Absent::Create }).await
    }

    /// Sets values, if the ConfigMap is still at `resource_version` (of a [`Snapshot`]).
    ///
    /// # Errors
    /// [`StoreError::Changed`] where someone else has written.
    pub async fn compare_and_set(&self, values: &Values, resource_version: &str) -> Result<(), StoreError> {
        values.keys().try_for_each(|key| rules::check_key(key))?;
        let (namespace, name) = (&self.namespace, &self.name);
        let merged = self.cluster.merge_config_map(
            namespace,
            name,
            FIELD_MANAGER,
            Some(resource_version),
            self.patch_of(values),
        );
        match merged.await {
            Ok(object) => {
                self.remember(&object);
                Ok(())
            }
            Err(ApiError::Conflict(_)) => Err(StoreError::Changed(self.to_string())),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Removes a key. Returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        rules::check_key(key)?;
        self.remove(|candidate| candidate == key).await.map(|removed| removed > 0)
    }

    /// Removes every key that is there now; the ConfigMap stays. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn truncate(&self) -> Result<usize, StoreError> {
        self.remove(|_| true).await
    }

    async fn remove(&self, is_meant: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let _turn = self.writing.lock().await;
        let Some(current) = self.read().await? else { return Ok(0) };
        let meant: Vec<&String> = current.values.keys().filter(|key| is_meant(key)).collect();
        if meant.is_empty() {
            return Ok(0);
        }
        let nulls: Value =
            meant.iter().map(|key| ((*key).clone(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
        self.merge(json!({"data": nulls, "binaryData": nulls}), Absent::Leave).await?;
        Ok(meant.len())
    }

    async fn read(&self) -> Result<Option<Snapshot>, StoreError> {
        let object =
            self.cluster.get_config_map(&self.namespace, &self.name).await.map_err(|error| self.error(error))?;
        Ok(object.map(|object| {
            self.remember(&object);
            Snapshot::of(&object)
        }))
    }

    /// Merges a patch into the ConfigMap. Returns what that then holds; `None` where there is none.
    async fn merge(&self, patch: Value, absent: Absent) -> Result<Option<Snapshot>, StoreError> {
        let (namespace, name) = (&self.namespace, &self.name);
        let mut create = absent == Absent::CreateFirst;
        let mut attempts = Attempts::new(ATTEMPTS, PAUSE);
        while attempts.next().await {
            let written = if create {
                self.cluster.create_config_map(namespace, name, FIELD_MANAGER, without_nulls(&patch)).await
            } else {
                self.cluster.merge_config_map(namespace, name, FIELD_MANAGER, None, patch.clone()).await
            };
            match written {
                Ok(object) => {
                    self.remember(&object);
                    return Ok(Some(Snapshot::of(&object)));
                }
                Err(ApiError::NotFound(_)) if absent == Absent::Leave => return Ok(None),
                // Deleted since it was read. Where a create finds nothing, it is the namespace that is missing.
                Err(ApiError::NotFound(_)) if !create => create = true,
                // Another writer has created it since it was read, or writes at the same moment.
                Err(ApiError::Conflict(_)) => create = false,
                // Whether it was written is not known. To write the same again does no harm.
                Err(ApiError::TimedOut(_) | ApiError::TooBusy(_)) if !attempts.is_last() => {}
                Err(error) => return Err(self.error(error)),
            }
        }
        Err(StoreError::Contended(self.to_string()))
    }

    fn patch_of(&self, values: &Values) -> Value {
        patch_of(values, &self.binary_keys.lock())
    }

    fn remember(&self, object: &ConfigMapObject) {
        *self.binary_keys.lock() = object.binary_data.keys().cloned().collect();
        let Some(cache) = &self.cache else { return };
        let snapshot = Snapshot::of(object);
        let mut read = cache.read.lock();
        // A read that was overtaken by a write must not bring the old values back. Versions are numbers that
        // rise (Kubernetes: API concepts, "Resource versions").
        let version = |snapshot: &Snapshot| snapshot.resource_version.parse::<u64>().ok();
        if read.as_ref().is_none_or(|(_, known)| version(known) <= version(&snapshot)) {
            *read = Some((Instant::now(), snapshot));
        }
    }

    fn error(&self, source: ApiError) -> StoreError {
        match source {
            ApiError::NotFound(_) => StoreError::Missing(self.to_string()),
            ApiError::Denied(message) if message.contains("immutable") => StoreError::Immutable(self.to_string()),
            source => StoreError::Api { config_map: self.to_string(), source },
        }
    }
}

impl std::fmt::Display for ConfigMapStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
