//! Starts the parts that keep the index, and answers for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::args::CacheArgs;
use super::configmap::{CacheConfigMap, Written};
use super::configmap_tier::ConfigMapTier;
use super::current::CurrentIndex;
use super::keeper::Keeper;
use super::loaded_index::LoadedIndex;
use super::metrics::CacheMetrics;
use super::mount::MountReader;
use super::mount_poller::MountPoller;
use super::mount_refresh::MountRefreshStatus;
use super::proof::Need;
use super::rounds::Rounds;
use super::status::{FailedTier, Tiers};
use super::unseen::UnseenPart;
use super::watch::{Watch, WatchConfig};
use crate::cluster::{ApiError, Cluster};
use crate::index::document::PartAsOf;
use crate::index::{Part, Scope};
use crate::workload::WorkloadRef;

pub use super::rounds::Unproven;

/// Parts that could not be seen and are looked for at once: a call each.
const PARTS_LOOKED_AT: usize = 9;

/// How the index is kept.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// What a scan must see.
    pub scope: Scope,
    /// The ConfigMap that holds the document.
    pub config_map: CacheConfigMap,
    /// Where that ConfigMap is mounted.
    pub mount: MountReader,
    /// How these are kept up to date.
    pub cache: CacheArgs,
    /// How far apart clocks may be and still be compared.
    pub clock_margin: Duration,
    /// Whether a scan is written to the ConfigMap; a command that only looks does not write.
    pub write_back: bool,
    /// Follow the cluster event by event.
    pub watch: Option<WatchConfig>,
}

impl ResolverConfig {
    /// A resolver that writes its scans to the ConfigMap and has no watch yet ([`CacheArgs::watch_config`] describes
    /// one).
    pub fn new(
        cache: &CacheArgs,
        scope: Scope,
        config_map: CacheConfigMap,
        mount: MountReader,
        clock_margin: Duration,
    ) -> Self {
        Self { scope, config_map, mount, cache: cache.clone(), clock_margin, write_back: true, watch: None }
    }
}

/// The index, and the parts that keep it.
#[derive(Debug)]
pub struct Resolver {
    config: ResolverConfig,
    cluster: Cluster,
    current: Arc<CurrentIndex>,
    config_map: Arc<ConfigMapTier>,
    poller: MountPoller,
    watch: Option<Arc<Watch>>,
    rounds: Rounds,
    /// Counts the parts that were looked for because they could not be seen.
    looks: AtomicUsize,
}

impl Resolver {
    /// A resolver without an index; [`Resolver::load_mount`] and [`Resolver::run`] get it one.
    pub fn new(config: ResolverConfig, cluster: Cluster, metrics: CacheMetrics) -> Self {
        let (scope, server_clock) = (config.scope.clone(), Arc::clone(cluster.server_clock()));
        let (margin, grace) = (config.clock_margin, config.cache.unseen_grace);
        let current = CurrentIndex::new(scope, cluster.clock(), server_clock, margin, grace, metrics);
        let current = Arc::new(current);
        let poller = MountPoller::new(config.mount.clone(), config.cache.mount_poll, Arc::clone(&current));
        let new_watch = |watch| Arc::new(Watch::new(watch, cluster.clone(), Arc::clone(&current)));
        let watch = config.watch.clone().map(new_watch);
        let config_map = Arc::new(ConfigMapTier::new(
            config.config_map.clone(),
            cluster.clone(),
            Arc::clone(&current),
            config.cache.refresh_mounts,
        ));
        let rounds = Rounds::new(
            cluster.clone(),
            Arc::clone(&current),
            Arc::clone(&config_map),
            watch.clone(),
            config.write_back,
        );
        Self { config, cluster, current, config_map, poller, watch, rounds, looks: AtomicUsize::new(0) }
    }

    /// Looks at the mount once, before anything else.
    pub async fn load_mount(&self) {
        self.poller.poll().await;
    }

    /// Keeps the index until `shutdown`: follows the mount, makes rounds for callers that wait for a better index, loads a first one,
    /// scans on a timer, watches the cluster. That it ends earlier is a bug.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::join!(
            self.poller.run(shutdown.clone()),
            self.rounds.run(self.config.cache.rebuild_interval, shutdown.clone()),
            shutdown.run_until_cancelled(self.rounds.load_first()),
            shutdown.run_until_cancelled(self.scan_on_timer()),
            self.run_watch(shutdown.clone()),
            shutdown.run_until_cancelled(self.config_map.refresh_mounts()),
        );
    }

    async fn scan_on_timer(&self) {
        if let Some(interval) = self.config.cache.refresh_interval {
            self.rounds.scan_every(interval).await;
        }
    }

    async fn run_watch(&self, shutdown: CancellationToken) {
        let Some(watch) = &self.watch else { return };
        let keep = async {
            if self.config.write_back {
                let (config_map, cluster) = (Arc::clone(&self.config_map), self.cluster.clone());
                let keeper = Keeper::new(Arc::clone(watch), config_map, cluster, self.config.scope.clone());
                keeper.run(self.config.cache.rebuild_interval, shutdown.clone()).await;
            }
        };
        tokio::join!(watch.run(shutdown.clone()), keep);
    }

    /// The cluster that it scans.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The namespaces that it scans.
    pub fn scope(&self) -> &Scope {
        &self.config.scope
    }

    /// The index as it is now: no lock, no call. `None` before the first.
    pub fn current(&self) -> Option<Arc<LoadedIndex>> {
        self.current.load()
    }

    /// Whether `loaded` is enough for `need`.
    pub fn meets(&self, loaded: Option<&LoadedIndex>, need: &Need) -> bool {
        self.current.meets(loaded, need)
    }

    /// To be called with the publish time of each message that Pub/Sub itself has delivered: a prompt one shows that our
    /// clock agrees with Pub/Sub's.
    pub fn observe_publish_time(&self, published: Timestamp, received: Timestamp) {
        self.current.observe_publish_time(published, received);
    }

    /// Whether our clock is known to agree with Pub/Sub's.
    pub fn publisher_agrees(&self, now: Timestamp) -> bool {
        self.current.publisher_agrees(now)
    }

    /// Waits for an index that meets `need`, at most until `deadline`.
    ///
    /// # Errors
    /// [`Unproven`], and the reason of the API server where it gave one.
    pub async fn wait_for(&self, need: Need, deadline: Instant) -> Result<Arc<LoadedIndex>, Unproven> {
        self.rounds.wait_for(need, deadline).await
    }

    /// Scans now, in turn with other rounds, and says what came of the write-back.
    ///
    /// # Errors
    /// A sentence on what failed.
    pub async fn rebuild(&self, deadline: Instant) -> Result<(Written, Arc<LoadedIndex>), String> {
        self.rounds.rebuild(deadline).await
    }

    /// Every tier as it is now.
    pub fn tiers(&self) -> Tiers {
        let mut tiers = self.current.tiers();
        if let Some(watch) = &self.watch {
            let life = watch.life();
            tiers.watch.live = Some(life.is_live());
            tiers.watch.as_of = life.as_of().filter(|_| life.is_live()).or(tiers.watch.as_of);
        }
        tiers
    }

    /// The tiers that give no index now, and why.
    pub fn failed_tiers(&self) -> Vec<FailedTier> {
        self.current.failed_tiers()
    }

    /// The parts of our scope that cannot be seen now, and why.
    pub fn unseen_parts(&self) -> Vec<UnseenPart> {
        self.current.unseen().all()
    }

    /// The parts of our scope that `loaded` has not seen and that are not proven for `need` by their own time. Where
    /// there are any although `loaded` meets the need, `--unseen-grace` is over.
    pub fn unproven_parts(&self, loaded: &LoadedIndex, need: &Need) -> Vec<UnseenPart> {
        self.current.unproven_parts(loaded, need)
    }

    /// Whether our scope has something of `part`, and `loaded` has seen all of that. The part may be one of an earlier scope,
    /// larger or smaller than ours are.
    pub fn sees(&self, loaded: &LoadedIndex, part: &Part) -> bool {
        self.config.scope.overlaps(part) && !loaded.lacks(part)
    }

    /// Looks whether a part that could not be seen can be seen again, and scans if so. Of many parts it looks at some, each
    /// time at others.
    pub async fn look_for_unseen_parts(&self, deadline: Instant) {
        let unseen = self.current.unseen().all();
        let first = self.looks.fetch_add(PARTS_LOOKED_AT, Ordering::Relaxed);
        for UnseenPart { part, .. } in
            unseen.iter().cycle().skip(first % unseen.len().max(1)).take(PARTS_LOOKED_AT.min(unseen.len()))
        {
            match self.cluster.try_list(part.kind, part.namespace.as_deref()).await {
                Err(ApiError::Forbidden(_)) => {}
                // The next look tries again.
                Err(_) => return,
                Ok(()) => {
                    // The status of the tier shows a failure.
                    let _ = self.rounds.wait_for(Need::ScanSince(Instant::now()), deadline).await;
                    return;
                }
            }
        }
    }

    /// The parts of our scope that these workloads belong to, where they cannot be seen and hold up no push any more. To
    /// be called for workloads that are forbidden: an index may be proven without a scan, and then nobody knows yet.
    pub async fn excused_parts_of(&self, workloads: &[WorkloadRef]) -> Vec<UnseenPart> {
        let mut parts = self.config.scope.parts();
        parts.retain(|part| workloads.iter().any(|workload| part.has(workload)));
        let (unseen, mut excused) = (self.current.unseen(), Vec::new());
        for part in parts {
            if !unseen.has(&part)
                && let Err(error @ ApiError::Forbidden(_)) =
                    self.cluster.try_list(part.kind, part.namespace.as_deref()).await
            {
                unseen.part_listed(&part, Some(error.to_string()));
            }
            let as_of = self.current.load().and_then(|loaded| loaded.part_as_of(&part));
            if unseen.is_excused(&part) {
                excused.push(unseen.show(&PartAsOf { part, as_of }));
            }
        }
        excused
    }

    /// How notifying the pods that mount the ConfigMap went; `None` where that is off.
    pub fn mount_refresh(&self) -> Option<MountRefreshStatus> {
        self.config_map.mount_refresh()
    }

    /// Whether the mount is being looked at.
    pub fn is_alive(&self) -> bool {
        self.poller.is_alive()
    }

    /// Whether there is a watch, and it is trusted now.
    pub fn watch_is_live(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.life().is_live())
    }

    /// To be called before the metrics are shown: those of the watch change without an event.
    pub fn export_watch(&self) {
        if let Some(watch) = &self.watch {
            self.current.export_watch(&watch.life());
        }
    }
}
