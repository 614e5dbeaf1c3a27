//! The cache as immutable ConfigMaps: each document in one of its own, `NAME-HASH`, for whoever rolls its pods onto a
//! new cache in place of having the kubelet swap files under them.
//!
//! HASH is of what the document says but for its time, so a cluster that has not changed gives the same name, and
//! nothing is written. A label tells the versions of one cache from other ConfigMaps; an annotation says since when
//! each is the current one, since an older version is current again when the cluster is again as it was.
//!
//! Of two rebuilds at once that found different clusters the later to write wins; the next one mends what that was not.

mod volumes;

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::configmap::{ATTEMPTS, CONFIG_MAP_BYTES_MAX, CacheConfigMap, FIELD_MANAGER, Outcome, WriteError, Written};
use crate::cluster::{ApiError, Cluster, ConfigMapObject};
use crate::index::document::stored::Stored;
use crate::index::document::{Document, Head, Images};

pub use volumes::{CacheVolumes, VolumeError};

/// On each version: the name of the cache it is a version of.
const CACHE_LABEL: &str = "pushroll.dev/cache";
/// On each version: since when it is the current one, by the writer's clock.
const CURRENT_SINCE_ANNOTATION: &str = "pushroll.dev/current-since";
/// So many versions are kept: the current one, the one that pods may be rolling from, and one to go back to.
const VERSIONS_KEPT: usize = 3;
/// Of the hash in a name: 40 bits, as kubectl's and kustomize's.
const HASH_BYTES: usize = 5;
/// Kubernetes: `LabelValueMaxLength`.
const LABEL_VALUE_BYTES_MAX: usize = 63;

/// The versions of a cache, the current one first.
#[derive(Debug)]
pub struct Versions {
    cache: CacheConfigMap,
    known: Vec<ConfigMapObject>,
}

/// What a write has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentVersion {
    /// The name of the ConfigMap that is current now (in a dry run: that would be).
    pub name: String,
    /// What the write came to.
    pub outcome: Outcome,
}

impl Versions {
    /// Lists the versions of `cache`.
    ///
    /// # Errors
    /// The name cannot be a label, or the LIST failed.
    pub async fn list(cluster: &Cluster, cache: &CacheConfigMap) -> Result<Self, WriteError> {
        if cache.name.len() > LABEL_VALUE_BYTES_MAX {
            return Err(WriteError::NameTooLong(cache.name.clone()));
        }
        let mut versions = Self { cache: cache.clone(), known: Vec::new() };
        versions.look(cluster).await?;
        Ok(versions)
    }

    async fn look(&mut self, cluster: &Cluster) -> Result<(), WriteError> {
        let label = (CACHE_LABEL, self.cache.name.as_str());
        let listed = cluster.list_config_maps(&self.cache.namespace, label).await;
        self.known = listed.map_err(|source| WriteError::Api { config_map: self.cache.to_string(), source })?;
        self.known.sort_by_key(|version| std::cmp::Reverse(current_since(version)));
        Ok(())
    }

    /// Makes what a scan has found the current version: creates it, unless it is there. A newer scan stays.
    ///
    /// # Errors
    /// [`WriteError`] says what to do.
    pub async fn write(
        &mut self,
        cluster: &Cluster,
        head: &Head,
        images: &Images,
        dry_run: bool,
    ) -> Result<CurrentVersion, WriteError> {
        let config_map = self.named(&version_name(&self.cache.name, head, images));
        let document = Stored::of(Document::encode(head, images));
        let failed = |source| WriteError::Api { config_map: config_map.to_string(), source };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.look(cluster).await?;
            }
            let known = self.known.iter().find(|version| version.metadata.name == config_map.name);
            if let Some(version) = known
                && !config_map.is_version_of(version, images)
            {
                return Err(WriteError::NotThatVersion(config_map.to_string()));
            }
            if let Some(current) = self.known.first() {
                let current_name = &current.metadata.name;
                let (written, _) = self.named(current_name).judge(Some(current), head, images)?;
                if written == Written::NewerKept || *current_name == config_map.name {
                    let written = if written == Written::NewerKept { written } else { Written::Unchanged };
                    return Ok(version_left(current_name, written, current.values_bytes()));
                }
            }
            let bytes = known.map_or(document.len(), ConfigMapObject::values_bytes);
            if bytes > CONFIG_MAP_BYTES_MAX {
                return Err(WriteError::TooLarge { config_map: config_map.to_string(), bytes });
            }
            if dry_run {
                return Ok(version_left(&config_map.name, Written::Changed, bytes));
            }
            match self.put(cluster, &config_map, &document, known).await {
                Ok(_) => return Ok(version_left(&config_map.name, Written::Changed, bytes)),
                Err(ApiError::Conflict(_)) if known.is_none() => {
                    self.look(cluster).await?;
                    if !self.known.iter().any(|version| version.metadata.name == config_map.name) {
                        // It exists without our label: whose it is, we do not know.
                        return Err(WriteError::NotThatVersion(config_map.to_string()));
                    }
                }
                // Changed, or deleted, since we looked. A namespace that is missing stays so.
                Err(ApiError::Conflict(_)) => {}
                Err(ApiError::NotFound(_)) if known.is_some() => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Err(WriteError::Contended(config_map.to_string()))
    }

    /// Creates a version, or makes the one that is `known` the current one.
    async fn put(
        &self,
        cluster: &Cluster,
        version: &CacheConfigMap,
        document: &Stored,
        known: Option<&ConfigMapObject>,
    ) -> Result<ConfigMapObject, ApiError> {
        let metadata = json!({
            "labels": {CACHE_LABEL: self.cache.name},
            "annotations": {CURRENT_SINCE_ANNOTATION: self.next(cluster.clock().now())},
        });
        let CacheConfigMap { namespace, name, .. } = version;
        if let Some(known) = known {
            let resource_version = Some(known.metadata.resource_version.as_str());
            let members = json!({"metadata": metadata});
            return cluster.merge_config_map(namespace, name, FIELD_MANAGER, resource_version, members).await;
        }
        let mut members = version.members(document, None);
        members["metadata"] = metadata;
        members["immutable"] = true.into();
        cluster.create_config_map(namespace, name, FIELD_MANAGER, members).await
    }

    /// Deletes the versions that are older than the last three, `current` among them; `in_use` stay whatever their age.
    /// Returns the names of those it deleted.
    ///
    /// # Errors
    /// [`WriteError::NotDeleted`]
    pub async fn delete_old(
        &self,
        cluster: &Cluster,
        current: &str,
        in_use: &BTreeSet<String>,
        dry_run: bool,
    ) -> Result<Vec<String>, WriteError> {
        let others = self.known.iter().filter(|version| version.metadata.name != current);
        let old = others.skip(VERSIONS_KEPT - 1).filter(|version| !in_use.contains(&version.metadata.name));
        let mut deleted = Vec::new();
        for version in old {
            let name = &version.metadata.name;
            if !dry_run {
                let resource_version = &version.metadata.resource_version;
                match cluster.delete_config_map(&self.cache.namespace, name, resource_version).await {
                    Ok(()) => {}
                    // Gone already, or changed: another has made it the current one.
                    Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => continue,
                    Err(source) => {
                        return Err(WriteError::NotDeleted { config_map: self.named(name).to_string(), source });
                    }
                }
            }
            deleted.push(name.clone());
        }
        Ok(deleted)
    }

    fn named(&self, name: &str) -> CacheConfigMap {
        CacheConfigMap { name: name.to_owned(), ..self.cache.clone() }
    }

    /// A time after that of every version, though another's clock be ahead of ours.
    fn next(&self, now: Timestamp) -> Timestamp {
        let after = |last: Timestamp| last.checked_add(SignedDuration::from_micros(1)).unwrap_or(last);
        self.known.first().and_then(current_since).map_or(now, |last| now.max(after(last)))
    }
}

impl CacheConfigMap {
    /// Whether `version` is what its name says.
    fn is_version_of(&self, version: &ConfigMapObject, images: &Images) -> bool {
        version.immutable && self.stored(version).and_then(Stored::images).as_ref() == Some(images)
    }

    /// Whether `name` is that of this cache or of one of its versions.
    pub fn is_called(&self, name: &str) -> bool {
        let hash = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        let is_hash = |hash: &str| {
            hash.len() == HASH_BYTES * 2 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        name == self.name || hash.is_some_and(is_hash)
    }
}

fn version_left(name: &str, written: Written, bytes: usize) -> CurrentVersion {
    let outcome = Outcome { written, document_bytes: bytes, values_bytes: bytes, resource_version: None };
    CurrentVersion { name: name.to_owned(), outcome }
}

/// `NAME-HASH`: what the document says, but for its time.
fn version_name(cache: &str, head: &Head, images: &Images) -> String {
    let timeless = Head { as_of: None, scope: head.scope.clone() };
    let hash = digest(&SHA256, Document::encode(&timeless, images).as_bytes());
    let hash = hash.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}"));
    format!("{cache}-{}", hash.collect::<String>())
}

fn current_since(version: &ConfigMapObject) -> Option<Timestamp> {
    let since = version.metadata.annotations.get(CURRENT_SINCE_ANNOTATION).and_then(|since| since.parse().ok());
    since.or(version.metadata.creation_timestamp)
}
