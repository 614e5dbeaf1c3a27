//! Keeps the ConfigMap up to date from the watch: for the next cold start, and for its other readers.
//!
//! At most once an interval, and by the one replica that holds a Lease. The Lease only avoids duplicate work; the write's
//! own precondition keeps an older index from replacing a newer one.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::configmap::{FIELD_MANAGER, HEAD_REFRESH, Written};
use super::configmap_tier::ConfigMapTier;
use super::scan::Seen;
use super::watch::Watch;
use crate::cluster::{ApiError, Cluster, LeaseHolder};
use crate::index::Scope;

/// For how long a replica that has written holds the Lease.
const LEASE: Duration = Duration::from_secs(15);
/// After a failure, which the status of the tier shows.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Keeper {
    watch: Arc<Watch>,
    config_map: Arc<ConfigMapTier>,
    cluster: Cluster,
    scope: Scope,
    lease: LeaseHolder,
    /// The error of the Lease that was logged last.
    logged_error: Option<String>,
}

impl Keeper {
    pub(super) fn new(watch: Arc<Watch>, config_map: Arc<ConfigMapTier>, cluster: Cluster, scope: Scope) -> Self {
        let cache = config_map.config_map();
        let lease = LeaseHolder::new(&cache.namespace, &cache.name, watch.identity().to_owned(), LEASE, FIELD_MANAGER);
        Self { watch, config_map, cluster, scope, lease, logged_error: None }
    }

    /// Keeps the ConfigMap up to date until `shutdown`, writing at most once an `interval`.
    pub(super) async fn run(mut self, interval: Duration, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.keep(interval)).await;
    }

    async fn keep(&mut self, interval: Duration) {
        let mut versions = self.watch.versions();
        while versions.changed().await.is_ok() {
            while let Some(wait) = self.write().await {
                tokio::time::sleep(wait.max(interval)).await;
            }
            tokio::time::sleep(interval).await;
            if versions.has_changed().is_ok_and(|changed| !changed) {
                // Without a change of the cluster the document's time must still be renewed. This looks twice as often
                // as that is due: a head that is almost old enough must not wait for a whole period more.
                let _ = tokio::time::timeout(HEAD_REFRESH / 2, versions.changed()).await;
                versions.mark_changed();
            }
        }
    }

    /// Writes what the watch sees, if the ConfigMap does not have it. `Some`: look again after that time.
    async fn write(&mut self) -> Option<Duration> {
        let life = self.watch.life();
        if !life.is_live() {
            // The next index of the watch wakes the loop.
            return None;
        }
        let Ok(stored) = self.config_map.read().await else { return Some(RETRY) };
        let as_of = life.as_of();
        let images = self.watch.images().await?;
        // A watch that breaks forgets its objects: they may be missing from these images.
        if !life.is_live() {
            return None;
        }
        let scope = self.scope.clone();
        let seen = Seen { images: &images, as_of, scope: &scope, unseen: life.unseen() };
        match self.config_map.compare(stored.as_ref(), &seen) {
            // A scan or another replica has written. What the watch sees may be newer than its `as_of` says; the next
            // watch request tells.
            Ok(Written::NewerKept) => return Some(self.watch.certainty()),
            Ok(written) if !written.is_write() => return None,
            Ok(_) => {}
            Err(_) => return Some(RETRY),
        }
        match self.lease.take(&self.cluster).await {
            Ok(None) => {}
            // The Lease may have been written by hand, and claim to be held for years.
            Ok(Some(left)) => return Some(left.min(RETRY)),
            // Without a Lease replicas may do the same work twice, which does no harm.
            Err(error) => self.log_lease_error(&error),
        }
        match self.config_map.write_back(&seen, stored).await {
            Ok(_) => None,
            Err(_) => Some(RETRY),
        }
    }

    /// Logs an error once, until there is another.
    fn log_lease_error(&mut self, error: &ApiError) {
        let error = error.to_string();
        if self.logged_error.as_ref() != Some(&error) {
            let config_map = self.config_map.config_map();
            tracing::warn!("without a Lease every replica writes the ConfigMap {config_map}: {error}");
            self.logged_error = Some(error);
        }
    }
}
