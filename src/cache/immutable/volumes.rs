//! Points the volumes of a workload that mount the cache at its current version, which rolls the pods.

use std::time::Duration;

use crate::cache::configmap::{ATTEMPTS, CacheConfigMap};
use crate::cluster::{ApiError, Attempts, Cluster, ConfigMapReference, WorkloadVolumes};
use crate::workload::WorkloadRef;

/// Pause before another attempt: a rollout's own status updates change the object, too.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// A workload that mounts the cache.
#[derive(Debug)]
pub struct CacheVolumes {
    workload: WorkloadRef,
    cache: CacheConfigMap,
    read: WorkloadVolumes,
}

/// Why a workload was not pointed at a version.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Pods can mount only ConfigMaps of their own namespace.
    #[error(
        "{workload} cannot mount the ConfigMap {cache}: a volume takes ConfigMaps of its own namespace alone; write \
         the cache there (-n {})",
        workload.namespace
    )]
    OtherNamespace {
        /// Which workload.
        workload: WorkloadRef,
        /// Which cache.
        cache: String,
    },
    /// No volume of it is one of the cache.
    #[error(
        "{workload} has no volume of the ConfigMap {name} or of one of its versions ({name}-HASH); it has: {volumes}"
    )]
    NoVolume {
        /// Which workload.
        workload: WorkloadRef,
        /// The name of the cache.
        name: String,
        /// The volumes that it has.
        volumes: String,
    },
    /// A call failed.
    #[error("the volumes of {workload} were not set: {source}")]
    Api {
        /// Which workload.
        workload: WorkloadRef,
        /// Why.
        source: ApiError,
    },
    /// Other writers were ahead at every attempt.
    #[error("the volumes of {0} were not set: it changed at every attempt")]
    Contended(WorkloadRef),
}

impl CacheVolumes {
    /// Looks for the volumes of `workload` that mount `cache` or one of its versions.
    ///
    /// # Errors
    /// [`VolumeError`]; that there is no such volume is one.
    pub async fn of(cluster: &Cluster, cache: &CacheConfigMap, workload: &WorkloadRef) -> Result<Self, VolumeError> {
        if *workload.namespace != *cache.namespace {
            return Err(VolumeError::OtherNamespace { workload: workload.clone(), cache: cache.to_string() });
        }
        let read = get(cluster, workload).await?;
        let found = Self { workload: workload.clone(), cache: cache.clone(), read };
        if found.references().is_empty() {
            return Err(VolumeError::NoVolume {
                workload: workload.clone(),
                name: cache.name.clone(),
                volumes: found.read.describe(),
            });
        }
        Ok(found)
    }

    /// Which workload.
    pub fn workload(&self) -> &WorkloadRef {
        &self.workload
    }

    /// The names of the ConfigMaps that its pods mount now, or while they roll.
    pub fn config_maps(&self) -> impl Iterator<Item = String> {
        self.references().into_iter().map(|reference| reference.config_map)
    }

    /// Points them at `version`. Returns the names of the changed volumes; none where all point there already.
    ///
    /// # Errors
    /// [`VolumeError`]
    pub async fn point_at(
        &mut self,
        cluster: &Cluster,
        version: &str,
        field_manager: &str,
        dry_run: bool,
    ) -> Result<Vec<String>, VolumeError> {
        let mut attempts = Attempts::new(ATTEMPTS, CONFLICT_PAUSE);
        while attempts.next().await {
            if attempts.is_repeated() {
                self.read = get(cluster, &self.workload).await?;
            }
            let references = self.references();
            let others: Vec<_> = references.iter().filter(|reference| reference.config_map != version).collect();
            let mut volumes: Vec<String> = others.iter().map(|reference| reference.volume.clone()).collect();
            volumes.dedup();
            if others.is_empty() || dry_run {
                return Ok(volumes);
            }
            match cluster.point_volumes(&self.workload, field_manager, &self.read, &others, version).await {
                Ok(()) => return Ok(volumes),
                Err(ApiError::Conflict(_)) => {}
                Err(source) => return Err(VolumeError::Api { workload: self.workload.clone(), source }),
            }
        }
        Err(VolumeError::Contended(self.workload.clone()))
    }

    fn references(&self) -> Vec<ConfigMapReference> {
        let mut references = self.read.references();
        references.retain(|reference| self.cache.is_called(&reference.config_map));
        references
    }
}

async fn get(cluster: &Cluster, workload: &WorkloadRef) -> Result<WorkloadVolumes, VolumeError> {
    cluster.get_volumes(workload).await.map_err(|source| VolumeError::Api { workload: workload.clone(), source })
}
