//! The cache as immutable ConfigMaps: each document in one of its own, `NAME-HASH`, for workloads whose pods are rolled
//! onto a new cache instead of having the kubelet swap files under them.
//!
//! HASH is of the document without its time, so a cluster that has not changed gives the same name, and nothing is
//! written. A label distinguishes the versions of one cache from other ConfigMaps. An annotation says since when each
//! version is the current one: an older version becomes current again when the cluster is again as it was.
//!
//! Of two rebuilds at once that found different clusters, the later write wins, and the next rebuild corrects it.

mod volumes;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::configmap::{ATTEMPTS, CacheConfigMap, FIELD_MANAGER, WriteBack, WriteError, Written};
use super::scan::Seen;
use crate::cluster::{ApiError, Attempts, CONFIG_MAP_BYTES_MAX, Cluster, ConfigMapObject};
use crate::index::document::stored::Stored;
use crate::index::document::{Document, Head, Images};

pub use volumes::{CacheVolumes, VolumeError};

/// On each version: the name of the cache it is a version of.
const CACHE_LABEL: &str = "pushroll.dev/cache";
/// On each version: since when it is the current one, by the writer's clock.
const CURRENT_SINCE_ANNOTATION: &str = "pushroll.dev/current-since";
/// How many versions are kept: the current one, the one that pods may be rolling from, and one to go back to.
const VERSIONS_KEPT: usize = 3;
/// Length of the hash in a name: 40 bits, as kubectl's and kustomize's.
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
    pub write_back: WriteBack,
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

    /// The document of the current version.
    pub fn current_document(&self) -> Option<Stored> {
        self.known.first().and_then(|current| self.cache.stored(current))
    }

    /// Makes what a scan has found the current version, and creates it unless it exists. A newer scan stays.
    ///
    /// # Errors
    /// [`WriteError`] says what to do.
    pub async fn write(
        &mut self,
        cluster: &Cluster,
        seen: &Seen<'_>,
        dry_run: bool,
    ) -> Result<CurrentVersion, WriteError> {
        let mut attempts = Attempts::new(ATTEMPTS, Duration::ZERO);
        while attempts.next().await {
            if attempts.is_repeated() {
                self.look(cluster).await?;
            }
            let (head, images) = seen.over(|| self.current_document());
            let config_map = self.named(&version_name(&self.cache.name, &head, &images));
            let document = Stored::of(Document::encode(&head, &images));
            let written = self.write_version(cluster, &config_map, &document, &head, &images, dry_run).await?;
            if let Some(current) = written {
                return Ok(current);
            }
        }
        Err(WriteError::Contended(self.cache.to_string()))
    }

    /// One attempt; `None` where the versions have changed since they were listed.
    async fn write_version(
        &mut self,
        cluster: &Cluster,
        config_map: &CacheConfigMap,
        document: &Stored,
        head: &Head,
        images: &Images,
        dry_run: bool,
    ) -> Result<Option<CurrentVersion>, WriteError> {
        let known = self.known.iter().find(|version| version.metadata.name == config_map.name);
        if let Some(version) = known
            && !config_map.is_version_of(version, images)
        {
            return Err(WriteError::NotThatVersion(config_map.to_string()));
        }
        if let Some(current) = self.known.first() {
            let current_name = &current.metadata.name;
            let written = self.named(current_name).compare(Some(current), head, images)?;
            if written == Written::NewerKept || *current_name == config_map.name {
                let written = if written == Written::NewerKept { written } else { Written::Unchanged };
                return Ok(Some(version_left(current_name, written, current.values_bytes())));
            }
        }
        let bytes = known.map_or(document.len(), ConfigMapObject::values_bytes);
        if bytes > CONFIG_MAP_BYTES_MAX {
            return Err(WriteError::TooLarge { config_map: config_map.to_string(), bytes });
        }
        let current = version_left(&config_map.name, Written::Changed, bytes);
        if dry_run {
            return Ok(Some(current));
        }
        match self.put(cluster, config_map, document, known).await {
            Ok(_) => Ok(Some(current)),
            Err(ApiError::Conflict(_)) if known.is_none() => {
                self.look(cluster).await?;
                if self.known.iter().any(|version| version.metadata.name == config_map.name) {
                    return Ok(None);
                }
                // It exists without our label: it may belong to anyone.
                Err(WriteError::NotThatVersion(config_map.to_string()))
            }
            // Changed, or deleted, since it was listed. Where it was not there before, it is the namespace that is missing,
            // and stays so.
            Err(ApiError::Conflict(_)) => Ok(None),
            Err(ApiError::NotFound(_)) if known.is_some() => Ok(None),
            Err(source) => Err(WriteError::Api { config_map: config_map.to_string(), source }),
        }
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

    /// Deletes the versions that are older than the last three, of which `current` is one; those `in_use`, and those that
    /// an object of the namespace names, stay at any age. Returns the names of the deleted ones.
    ///
    /// # Errors
    /// [`WriteError::NotDeleted`], [`WriteError::UseUnknown`]
    pub async fn delete_old(
        &self,
        cluster: &Cluster,
        current: &str,
        in_use: &BTreeSet<String>,
        dry_run: bool,
    ) -> Result<Vec<String>, WriteError> {
        let others = self.known.iter().filter(|version| version.metadata.name != current);
        let old: Vec<_> =
            others.skip(VERSIONS_KEPT - 1).filter(|version| !in_use.contains(&version.metadata.name)).collect();
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let names = old.iter().map(|version| version.metadata.name.as_str()).collect();
        let used = cluster.config_maps_in_use(&self.cache.namespace, &names).await;
        let used = used.map_err(|source| WriteError::UseUnknown { source })?;
        let mut deleted = Vec::new();
        for version in old.into_iter().filter(|version| !used.contains(&version.metadata.name)) {
            let name = &version.metadata.name;
            if !dry_run {
                let resource_version = &version.metadata.resource_version;
                match cluster.delete_config_map(&self.cache.namespace, name, resource_version).await {
                    Ok(()) => {}
                    // Gone already, or changed: another rebuild has made it the current one.
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

    /// A time after that of every version, even one that a writer with a fast clock has made current.
    fn next(&self, now: Timestamp) -> Timestamp {
        let after = |last: Timestamp| last.checked_add(SignedDuration::from_micros(1)).unwrap_or(last);
        self.known.first().and_then(current_since).map_or(now, |last| now.max(after(last)))
    }
}

impl CacheConfigMap {
    /// Whether `version` is what its name says.
    fn is_version_of(&self, version: &ConfigMapObject, images: &Images) -> bool {
        let compare = |stored: Stored| stored.compare(images).is_ok_and(|compared| compared.is_same);
        version.immutable && self.stored(version).is_some_and(compare)
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
    let write_back = WriteBack { written, document_bytes: bytes, values_bytes: bytes, resource_version: None };
    CurrentVersion { name: name.to_owned(), write_back }
}

/// `NAME-HASH`; the hash is of the document without its time.
fn version_name(cache: &str, head: &Head, images: &Images) -> String {
    // Nor of the parts that could not be seen: what was known of them is among the images.
    let timeless = Head { scope: head.covered_scope(), ..Head::default() };
    let hash = digest(&SHA256, Document::encode(&timeless, images).as_bytes());
    let hash = hash.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}"));
    format!("{cache}-{}", hash.collect::<String>())
}

fn current_since(version: &ConfigMapObject) -> Option<Timestamp> {
    let since = version.metadata.annotations.get(CURRENT_SINCE_ANNOTATION).and_then(|since| since.parse().ok());
    since.or(version.metadata.creation_timestamp)
}
