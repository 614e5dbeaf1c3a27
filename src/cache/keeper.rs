//! Keeping the ConfigMap up to date from the watch: for the next cold start, and for whoever else reads it.
//!
//! At most once an interval, and by the one replica that holds a Lease. The Lease only avoids duplicate work; the write's
//! own precondition keeps an older index from replacing a newer one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Tier;
use super::configmap::{HEAD_REFRESH, Written};
use super::resolver::Resolver;
use super::scan::Scan;
use super::watch::Watch;
use crate::cluster::{ApiError, LeaseHolder, LeaseState};
use crate::index::document::Head;

/// For how long a replica that has written holds the Lease.
const LEASE: Duration = Duration::from_secs(15);
/// After a failure, which the board shows.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps the ConfigMap of `resolver` until `shutdown`, writing at most once an `interval`.
pub(super) async fn run(watch: &Watch, resolver: &Resolver, interval: Duration, shutdown: CancellationToken) {
    let config_map = resolver.config_map();
    let lease = LeaseHolder::new(&config_map.namespace, &config_map.name, watch.identity().to_owned(), LEASE);
    let mut keeper = Keeper { watch, resolver, lease, told: None };
    shutdown.run_until_cancelled(keeper.keep(interval)).await;
}

struct Keeper<'a> {
    watch: &'a Watch,
    resolver: &'a Resolver,
    lease: LeaseHolder,
    /// What was said of why there is no Lease to be had.
    told: Option<String>,
}

impl Keeper<'_> {
    async fn keep(&mut self, interval: Duration) {
        let mut versions = self.watch.versions();
        while versions.changed().await.is_ok() {
            // The head of a document that stays as it is gets older, and is renewed.
            while let Some(wait) = self.write().await {
                tokio::time::sleep(wait.max(interval)).await;
            }
            tokio::time::sleep(interval).await;
            if versions.has_changed().is_ok_and(|changed| !changed) {
                // Half of it: a head that is just too young must not wait for as long again.
                let _ = tokio::time::timeout(HEAD_REFRESH / 2, versions.changed()).await;
                versions.mark_changed();
            }
        }
    }

    /// Writes what the watch sees, if the ConfigMap does not have it. `Some`: look again after that time.
    async fn write(&mut self) -> Option<Duration> {
        let resolver = self.resolver;
        let life = self.watch.life();
        if !life.is_live() {
            // Its next index wakes us.
            return None;
        }
        let Ok(stored) = resolver.read_config_map().await else { return Some(RETRY) };
        let head = Head { as_of: life.as_of(), scope: Some(resolver.scope().clone()) };
        let scan = Scan { images: self.watch.images().await?, head, began: std::time::Instant::now() };
        // What is known of a kind goes when its watch breaks.
        if !life.is_live() {
            return None;
        }
        match resolver.config_map().judge(stored.as_ref(), &scan.head, &scan.images) {
            // A scan or another replica was there. What we see may be newer than we can tell: that takes another
            // watch request.
            Ok((Written::NewerKept, _)) => {
                resolver.board().not_written(Tier::ConfigMap, None);
                return Some(self.watch.certainty());
            }
            Ok((_, false)) => {
                resolver.board().not_written(Tier::ConfigMap, None);
                return None;
            }
            Ok((_, true)) => {}
            Err(error) => {
                resolver.board().not_written(Tier::ConfigMap, Some(error.to_string()));
                return Some(RETRY);
            }
        }
        match self.lease.take(resolver.cluster()).await {
            Ok(LeaseState::Ours) => {}
            // A Lease that something else has written may claim to be held for years.
            Ok(LeaseState::Theirs(left)) => return Some(left.min(RETRY)),
            // The Lease only avoids duplicate work; continue without it.
            Err(error) => self.tell(&error),
        }
        match resolver.write_back(&scan, stored).await {
            Ok(_) => None,
            Err(_) => Some(RETRY),
        }
    }

    fn tell(&mut self, error: &ApiError) {
        let error = error.to_string();
        if self.told.as_ref() != Some(&error) {
            tracing::warn!(
                "without a Lease every replica writes the ConfigMap {}: {error}",
                self.resolver.config_map()
            );
            self.told = Some(error);
        }
    }
}
