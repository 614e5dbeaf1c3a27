//! The cache ConfigMap as a tier: the only place where the service reads and writes it.
//!
//! Each read is compared with the mount, and each write that changes the images is announced to the pods that mount the
//! ConfigMap.

use std::sync::Arc;
use std::time::Duration;

use super::capacity;
use super::configmap::{CacheConfigMap, Written};
use super::current::CurrentIndex;
use super::loaded_index::Tier;
use super::mount_lag::{KUBELET_DELAY_MAX, MountLag};
use super::mount_refresh::{MountRefreshStatus, MountRefresher};
use super::scan::Seen;
use super::status::TierStatus;
use crate::cluster::{ApiError, Cluster, ConfigMapObject};

#[derive(Debug)]
pub(super) struct ConfigMapTier {
    config_map: CacheConfigMap,
    cluster: Cluster,
    current: Arc<CurrentIndex>,
    mount_lag: MountLag,
    mount_refresher: Option<MountRefresher>,
}

impl ConfigMapTier {
    /// With `refresh_mounts` the pods that mount the ConfigMap are notified of each change that we write.
    pub(super) fn new(
        config_map: CacheConfigMap,
        cluster: Cluster,
        current: Arc<CurrentIndex>,
        refresh_mounts: bool,
    ) -> Self {
        let mount_refresher = refresh_mounts.then(MountRefresher::new);
        Self { config_map, cluster, current, mount_lag: MountLag::default(), mount_refresher }
    }

    pub(super) fn config_map(&self) -> &CacheConfigMap {
        &self.config_map
    }

    /// Reads the ConfigMap and loads its document. Returns the object, for a write that follows.
    pub(super) async fn read(&self) -> Result<Option<ConfigMapObject>, ApiError> {
        let read = self.config_map.read(&self.cluster).await.inspect_err(|error| {
            self.current.tier_failed(Tier::ConfigMap, format!("the ConfigMap {}: {error}", self.config_map));
        })?;
        if let Some(object) = &read.object {
            self.compare_mount(object);
        }
        match read.document {
            Err(error) => self.current.tier_failed(Tier::ConfigMap, error.to_string()),
            Ok(mut document) => {
                document.warnings.extend(read.object.as_ref().and_then(|object| self.config_map.passed_over(object)));
                document.warnings.extend(read.object.as_ref().and_then(|o| capacity::warning(o.values_bytes())));
                self.current.document_loaded(Tier::ConfigMap, read.bytes, document);
            }
        }
        Ok(read.object)
    }

    /// What a write over `stored` would come to. Nothing is written.
    pub(super) fn compare(&self, stored: Option<&ConfigMapObject>, seen: &Seen<'_>) -> Result<Written, Arc<str>> {
        let (head, images) = self.config_map.over(stored, seen);
        let compared = self.config_map.compare(stored, &head, &images).map_err(|error| error.to_string());
        if compared.as_ref().is_ok_and(|written| !written.is_write()) {
            self.current.tier_not_written(Tier::ConfigMap, None);
        }
        compared.map_err(|error| self.write_failed(error))
    }

    /// Writes a document of what was seen, if `stored`, the object as last read, does not hold it already.
    pub(super) async fn write_back(
        &self,
        seen: &Seen<'_>,
        stored: Option<ConfigMapObject>,
    ) -> Result<Written, Arc<str>> {
        let written = self.config_map.write(&self.cluster, seen, stored, false).await;
        let write_back = written.map_err(|error| self.write_failed(error.to_string()))?;
        if write_back.written != Written::Changed {
            self.current.tier_not_written(Tier::ConfigMap, None);
            return Ok(write_back.written);
        }
        if let (Some(refresher), Some(resource_version)) = (&self.mount_refresher, write_back.resource_version) {
            refresher.notify(resource_version);
        }
        let status = TierStatus {
            as_of: seen.as_of,
            document_bytes: Some(write_back.document_bytes),
            warnings: capacity::warning(write_back.values_bytes).into_iter().collect(),
            ..TierStatus::default()
        };
        self.current.tier_written(Tier::ConfigMap, status);
        Ok(write_back.written)
    }

    fn write_failed(&self, error: String) -> Arc<str> {
        self.current.tier_not_written(Tier::ConfigMap, Some(error.clone()));
        error.into()
    }

    /// Notifies the pods that mount the ConfigMap of changes, until it is dropped.
    pub(super) async fn refresh_mounts(&self) {
        if let Some(refresher) = &self.mount_refresher {
            refresher.run(&self.cluster, &self.config_map).await;
        }
    }

    /// How that went the last time; `None` where it is off.
    pub(super) fn mount_refresh(&self) -> Option<MountRefreshStatus> {
        self.mount_refresher.as_ref().map(MountRefresher::status)
    }

    /// Warns of a mount that no longer follows the ConfigMap.
    fn compare_mount(&self, object: &ConfigMapObject) {
        let Some(stored) = self.config_map.stored(object) else { return };
        // Both times are the API server's: how far its clock is from ours does not matter.
        let now = self.cluster.server_clock().passed(Duration::MAX);
        let changed_ago = now.zip(object.changed_at()).map(|(now, changed_at)| now.duration_since(changed_at));
        let changed_ago = changed_ago.map(|ago| Duration::try_from(ago).unwrap_or_default());
        let lag = self.mount_lag.compare(self.current.mounted(), stored.fingerprint(), changed_ago);
        let warning = format!(
            "the mount no longer follows the ConfigMap {}: minutes after its last change it shows another document; \
             `pushroll check` says more",
            self.config_map
        );
        self.current.set_tier_warning(Tier::Mount, &warning, lag.is_some_and(|lag| lag > KUBELET_DELAY_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheMetrics;
    use crate::clock::Clock;
    use crate::cluster::ClusterMetrics;
    use crate::index::document::Images;
    use crate::index::{Part, Scope};
    use crate::workload::{WorkloadKind, WorkloadRef};
    use embedded_kubernetes::EmbeddedKubernetes;

    fn tier(scope: &Scope) -> (ConfigMapTier, Arc<CurrentIndex>) {
        let (metrics, margin) = (CacheMetrics::default(), Duration::from_secs(10));
        let current =
            CurrentIndex::new(scope.clone(), Clock::system(), Arc::default(), margin, Duration::ZERO, metrics);
        let current = Arc::new(current);
        let cluster = Cluster::new(EmbeddedKubernetes::new().client(), Clock::system(), ClusterMetrics::default());
        let cache =
            CacheConfigMap { namespace: "default".to_owned(), name: "b".to_owned(), key: "cache.json".to_owned() };
        (ConfigMapTier::new(cache, cluster, Arc::clone(&current), false), current)
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_need_not_be_written_again() {
        let scope = Scope::AllNamespaces;
        let (tier, current) = tier(&scope);
        assert!(tier.read().await.unwrap().is_none());
        assert!(current.tiers().configmap.error.is_some(), "there is none");
        let (images, none) = (Images::from_iter([("web", [])]), Images::default());
        let as_of = "2026-11-20T10:00:00Z".parse().ok();
        let seen = |images| Seen { images, as_of, scope: &scope, unseen: Vec::new() };
        assert_eq!(tier.write_back(&seen(&images), None).await, Ok(Written::Changed));
        assert!(current.load().is_none() && current.failed_tiers().is_empty());
        let stored = tier.read().await.unwrap();
        assert_eq!(current.load().unwrap().tier, Tier::ConfigMap);
        assert_eq!(tier.compare(stored.as_ref(), &seen(&images)), Ok(Written::Unchanged));
        assert_eq!(tier.compare(stored.as_ref(), &seen(&none)), Ok(Written::Changed));
    }

    #[tokio::test]
    async fn what_another_writer_knows_of_an_unseen_part_outlives_a_conflict() {
        let scope = Scope::of(&["a".to_owned(), "b".to_owned()]);
        let (tier, _) = tier(&scope);
        let images = |image: &str, namespace: &str| {
            let web = WorkloadRef::new(namespace, WorkloadKind::Deployment, "web");
            Images::from_iter([(image, [web])])
        };
        let (old, new, ours) = (images("old", "b"), images("new", "b"), images("ours", "a"));
        let seen = |images, minute: u32, unseen| {
            let as_of = format!("2026-11-20T10:{minute:02}:00Z").parse().ok();
            Seen { images, as_of, scope: &scope, unseen }
        };
        assert_eq!(tier.write_back(&seen(&old, 0, Vec::new()), None).await, Ok(Written::Changed));
        let (stored, same) = (tier.read().await.unwrap(), tier.read().await.unwrap());
        assert_eq!(tier.write_back(&seen(&new, 1, Vec::new()), same).await, Ok(Written::Changed));
        let b = Part::new(WorkloadKind::Deployment, Some("b"));
        assert_eq!(tier.write_back(&seen(&ours, 2, vec![b.clone()]), stored).await, Ok(Written::Changed));
        let written = tier.read().await.unwrap().and_then(|object| tier.config_map().stored(&object)).unwrap();
        let head = written.clone().decode().unwrap().head;
        assert_eq!(head.part(&b).flatten(), "2026-11-20T10:01:00Z".parse().ok());
        assert_eq!(written.images().unwrap().iter().map(|(image, _)| image).collect::<Vec<_>>(), ["new", "ours"]);
    }
}
