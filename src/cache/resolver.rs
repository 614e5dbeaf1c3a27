//! The chain: mount, then the ConfigMap, then a scan; and waiting until what it gives is fresh enough.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::configmap::{CacheConfigMap, Written};
use super::mount::MountReader;
use super::mount_lag::MountLag;
use super::mount_refresh::MountRefresher;
use super::off_worker::off_worker;
use super::poller::MountPoller;
use super::proof::Need;
use super::refresh::{Refresher, Write};
use super::status::{Board, FailedTier, Tiers};
use super::watch::{Watch, WatchConfig};
use super::{CurrentIndex, LoadedIndex, keeper};
use crate::clock::{Clock, Clocks, PublisherClock};
use crate::cluster::Cluster;
use crate::index::Scope;
use crate::telemetry::Metrics;

/// How the chain is set up.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// What a scan must see.
    pub scope: Scope,
    /// The ConfigMap that holds the document.
    pub config_map: CacheConfigMap,
    /// Where that ConfigMap is mounted.
    pub mount: MountReader,
    /// How often the mount is looked at.
    pub mount_poll: Duration,
    /// Least time between the beginnings of two rounds (a GET of the ConfigMap, a scan).
    pub rebuild_interval: Duration,
    /// A scan on a timer, however few pushes come.
    pub refresh_interval: Option<Duration>,
    /// How far apart clocks may be and still be compared.
    pub clock_margin: Duration,
    /// Whether a scan is written to the ConfigMap; a command that only looks does not write.
    pub write_back: bool,
    /// Whether the pods that mount the ConfigMap are told of each change that we write.
    pub refresh_mounts: bool,
    /// Follow the cluster event by event.
    pub watch: Option<WatchConfig>,
}

/// The chain, and the index that it keeps.
#[derive(Debug)]
pub struct Resolver {
    config: ResolverConfig,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    current: CurrentIndex,
    board: Board,
    refresher: Refresher,
    poller: MountPoller,
    mount_lag: MountLag,
    mount_refresher: Option<MountRefresher>,
    publisher_clock: PublisherClock,
    watch: Option<Watch>,
}

/// Why there is no index that is fresh enough.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unproven {
    /// A round that began after the need arose has failed.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Not in time.
    #[error("the cluster was not scanned in time")]
    TimedOut,
}

impl Resolver {
    /// A resolver without an index; [`Resolver::load_mount`] and [`Resolver::run`] get it one.
    pub fn new(config: ResolverConfig, cluster: Cluster, metrics: Arc<Metrics>) -> Self {
        let poller = MountPoller::new(config.mount.clone(), config.mount_poll);
        let (current, board, refresher) = (CurrentIndex::default(), Board::default(), Refresher::new());
        let (mount_lag, publisher_clock) = (MountLag::default(), PublisherClock::unknown());
        let new_watch = |watch| Watch::new(watch, &config.scope, config.clock_margin, cluster.watched());
        let watch = config.watch.clone().map(new_watch);
        let mount_refresher = config.refresh_mounts.then(MountRefresher::new);
        Self {
            config,
            cluster,
            metrics,
            current,
            board,
            refresher,
            poller,
            mount_lag,
            mount_refresher,
            publisher_clock,
            watch,
        }
    }

    /// Takes an index in, unless what is there is newer; says whether it did. The one that it replaces is taken apart.
    pub(super) fn offer(&self, loaded: &Arc<LoadedIndex>) -> bool {
        off_worker(|| self.current.offer(Arc::clone(loaded)))
    }

    /// The index as it is now: no lock, no call. `None` before the first.
    pub fn current(&self) -> Option<Arc<LoadedIndex>> {
        self.current.load()
    }

    /// Whether `loaded` is enough for `need`.
    pub fn meets(&self, loaded: Option<&LoadedIndex>, need: &Need) -> bool {
        let server = self.cluster.server_clock();
        let clocks = Clocks { now: self.clock().now(), server, margin: self.config.clock_margin };
        need.is_met_by(loaded, clocks, &self.publisher_clock)
    }

    /// To be told of every message's publish time: prompt ones vouch for our clock.
    pub fn observe_publish_time(&self, published: Timestamp, received: Timestamp) {
        self.publisher_clock.observe(published, received, self.config.clock_margin);
    }

    /// Waits for an index that meets `need`, at most until `deadline`.
    ///
    /// # Errors
    /// [`Unproven`], and the reason of the API server where it gave one.
    pub async fn wait_for(&self, need: Need, deadline: Instant) -> Result<Arc<LoadedIndex>, Unproven> {
        let arrived = Instant::now();
        let mut reports = self.refresher.reports();
        let _open = self.refresher.open(need);
        loop {
            let report = reports.borrow_and_update().clone();
            let mut candidates = [self.current(), report.scanned].into_iter().flatten();
            if let Some(loaded) = candidates.find(|loaded| self.meets(Some(loaded), &need)) {
                return Ok(loaded);
            }
            if let (Some(began), Some(error)) = (report.began, report.error)
                && began >= arrived
            {
                return Err(Unproven::Failed(error));
            }
            match tokio::time::timeout_at(deadline.into(), reports.changed()).await {
                Ok(Ok(())) => {}
                // The sender lives as long as we do.
                Ok(Err(_)) | Err(_) => return Err(Unproven::TimedOut),
            }
        }
    }

    /// Scans now, in turn with other rounds, and says what the write-back came to.
    ///
    /// # Errors
    /// A sentence on what failed.
    pub async fn rebuild(&self, deadline: Instant) -> Result<(Written, Arc<LoadedIndex>), String> {
        let asked = Instant::now();
        let mut writes = self.refresher.writes();
        let scanned = self.wait_for(Need::Scan(asked), deadline).await.map_err(|error| error.to_string())?;
        let of_this_scan = |write: &Option<Write>| write.as_ref().is_some_and(|write| write.scan_began >= asked);
        match tokio::time::timeout_at(deadline.into(), writes.wait_for(of_this_scan)).await {
            Ok(Ok(write)) => match write.as_ref().map(|write| &write.result) {
                Some(Ok(written)) => Ok((*written, scanned)),
                Some(Err(error)) => Err(error.to_string()),
                None => Err("the scan was not written".to_owned()),
            },
            Ok(Err(_)) | Err(_) => Err("the scan was not written in time".to_owned()),
        }
    }

    /// Looks at the mount once, before anything else.
    pub async fn load_mount(&self) {
        self.poller.poll(self).await;
    }

    /// Keeps the index: follows the mount, serves the needs, walks the chain once at the start, scans on a
    /// timer. Ends at `shutdown`; ending earlier is a bug.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::join!(
            self.poller.run(self, shutdown.clone()),
            self.refresher.run(self, self.config.rebuild_interval, shutdown.clone()),
            shutdown.run_until_cancelled(self.start()),
            shutdown.run_until_cancelled(self.refresh_on_timer()),
            self.run_watch(shutdown.clone()),
            shutdown.run_until_cancelled(self.refresh_mounts()),
        );
    }

    /// The need of an index is kept open until it is met: an API server that is away at the start is asked again.
    async fn start(&self) {
        let mut reports = self.refresher.reports();
        let _open = self.refresher.open(Need::Any);
        while self.current().is_none() && reports.changed().await.is_ok() {}
    }

    async fn refresh_on_timer(&self) {
        let Some(interval) = self.config.refresh_interval else { return };
        loop {
            tokio::time::sleep(interval).await;
            let now = Instant::now();
            // A failure is on the board already; the next tick tries again.
            let _ = self.wait_for(Need::Scan(now), now + interval).await;
        }
    }

    async fn run_watch(&self, shutdown: CancellationToken) {
        let Some(watch) = &self.watch else { return };
        let interval = self.config.rebuild_interval;
        let keeper = async {
            if self.config.write_back {
                keeper::run(watch, self, interval, shutdown.clone()).await;
            }
        };
        tokio::join!(watch.run(self, shutdown.clone()), keeper);
    }

    /// Every tier as it is now.
    pub fn tiers(&self) -> Tiers {
        let mut tiers = self.board.tiers();
        if let Some(watch) = &self.watch {
            let life = watch.life();
            tiers.watch.live = Some(life.is_live());
            tiers.watch.as_of = life.as_of().filter(|_| life.is_live()).or(tiers.watch.as_of);
        }
        tiers
    }

    /// The tiers that give no index now, and why.
    pub fn failed_tiers(&self) -> Vec<FailedTier> {
        self.board.failed_tiers()
    }

    /// Whether the mount is being looked at.
    pub fn is_alive(&self) -> bool {
        self.poller.beats()
    }

    /// The ConfigMap that holds the document.
    pub fn config_map(&self) -> &CacheConfigMap {
        &self.config.config_map
    }

    /// Whether there is a watch, and it is trusted now.
    pub fn watch_is_live(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.life().is_live())
    }

    pub(super) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    pub(super) fn writes_back(&self) -> bool {
        self.config.write_back
    }

    pub(super) fn mount_refresher(&self) -> Option<&MountRefresher> {
        self.mount_refresher.as_ref()
    }

    pub(super) fn mount_lag(&self) -> &MountLag {
        &self.mount_lag
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn refresher(&self) -> &Refresher {
        &self.refresher
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn clock(&self) -> Clock {
        self.cluster.clock()
    }

    pub(super) fn clock_margin(&self) -> Duration {
        self.config.clock_margin
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.config.scope
    }
}
