//! The watch: an index that follows the cluster, event by event. While it is live it counts as proven.
//!
//! ```text
//! follow    one for each kind and namespace: LIST, then events, into WatchedWorkloads; anew when it breaks or hangs
//! rebuild   a new index when the images of a workload have changed
//! keeper    the ConfigMap follows the index, for the next cold start
//! ```
//!
//! What the promise leaves open: a watch that hangs is trusted until its patience is over, an API server may tell of a
//! change a moment after it was made, and the index follows a moment later. Pods take longer than these moments to be
//! made and to pull; a workload that was created, and pulled, within the patience of a hanging watch can be missed by a
//! push in that same time. An API server that goes on answering from a watch cache of its own that has fallen behind
//! etcd cannot be told from one where nothing happens.

mod life;
mod pauses;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use life::WatchLife;
use pauses::Pauses;

use super::Tier;
use super::resolver::Resolver;
use crate::cluster::{ApiError, Cluster, Pulse, WatchEvent, WatchedWorkloads};
use crate::index::Scope;
use crate::index::document::{self, Images};
use crate::workload::WorkloadKind;

/// How the watch is set up.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// How long one watch request lasts, in whole seconds; that it ends is the sign of life of a watch without events.
    pub request: Duration,
    /// For how long a watch without a sign of life is trusted.
    pub patience: Duration,
    /// Whether a decision looks at the labels of workloads (`--selector`): else they need not be in memory.
    pub keep_labels: bool,
    /// What tells this replica from the others, in the Lease by which they take turns at writing the ConfigMap.
    pub identity: String,
}

/// After each new index: four times as long as it took, so that making them takes a fifth of a processor, but at most
/// this.
const REBUILD_PAUSE_MAX: Duration = Duration::from_millis(250);

/// The watch of every kind.
#[derive(Debug)]
pub struct Watch {
    config: WatchConfig,
    margin: Duration,
    sources: Vec<Source>,
    workloads: Arc<WatchedWorkloads>,
    changed: Notify,
    phase: watch::Sender<Phase>,
    /// Counts the indexes that it has made.
    version: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first LISTs are under way: a scan would do the same work again.
    Beginning,
    /// It has been live, or has failed.
    Begun,
}

/// One list and watch.
#[derive(Debug)]
struct Source {
    kind: WorkloadKind,
    namespace: Option<String>,
    pulse: Arc<Pulse>,
    /// The last LIST that was whole, as [`Pulse::listing`] counts them.
    listed: AtomicU64,
}

// === impl WatchConfig ===

impl WatchConfig {
    /// [`Self::request`] of `serve --watch`.
    pub const REQUEST: Duration = Duration::from_secs(8);
    /// [`Self::patience`] of `serve --watch`: a watch that hangs is noticed within this time.
    pub const PATIENCE: Duration = Duration::from_secs(15);

    /// As `serve --watch` has it.
    pub fn new(identity: String) -> Self {
        Self { request: Self::REQUEST, patience: Self::PATIENCE, keep_labels: true, identity }
    }
}

// === impl Watch ===

impl Watch {
    /// A watch of every kind in every namespace of `scope`; [`Watch::run`] begins it.
    pub(super) fn new(config: WatchConfig, scope: &Scope, margin: Duration, workloads: Arc<WatchedWorkloads>) -> Self {
        let source = |(kind, namespace): (WorkloadKind, Option<&str>)| {
            let pulse = Arc::new(Pulse::new(config.patience));
            Source { kind, namespace: namespace.map(str::to_owned), pulse, listed: AtomicU64::new(0) }
        };
        let of_kind = |kind| scope.namespaces().into_iter().map(move |namespace| (kind, namespace));
        let sources = WorkloadKind::ALL.into_iter().flat_map(of_kind).map(source).collect();
        let (phase, version) = (watch::Sender::new(Phase::Beginning), watch::Sender::new(0));
        Self { config, margin, sources, workloads, changed: Notify::new(), phase, version }
    }

    /// Of an index that is made now.
    pub(super) fn life(&self) -> WatchLife {
        let pulses = self.sources.iter().map(|source| (Arc::clone(&source.pulse), source.pulse.listing()));
        WatchLife { pulses: pulses.collect() }
    }

    /// Which replica this is.
    pub(super) fn identity(&self) -> &str {
        &self.config.identity
    }

    /// How long after a change [`WatchLife::as_of`] says that it was seen, at the most: as long as two requests.
    pub(super) fn certainty(&self) -> Duration {
        self.config.request * 2
    }

    /// What it sees, in the order in which it is stored.
    pub(super) async fn images(&self) -> Option<Images> {
        let workloads = Arc::clone(&self.workloads);
        tokio::task::spawn_blocking(move || images_of(&workloads)).await.ok()
    }

    /// Wakes at every new index.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until it is live for the first time or has failed: not for ever, for a LIST may take its time.
    pub(super) async fn begun(&self) {
        let mut phases = self.phase.subscribe();
        let _ = tokio::time::timeout(self.config.patience, phases.wait_for(|phase| *phase == Phase::Begun)).await;
    }

    /// Watches until `shutdown`.
    pub(super) async fn run(&self, resolver: &Resolver, shutdown: CancellationToken) {
        let sources = join_all(self.sources.iter().map(|source| self.follow(source, resolver)));
        shutdown.run_until_cancelled(async { tokio::join!(sources, self.rebuild_on_change(resolver)) }).await;
    }

    /// Begins a watch, and begins it anew whenever it is broken.
    async fn follow(&self, source: &Source, resolver: &Resolver) {
        let mut pauses = Pauses::default();
        loop {
            let error = self.follow_until_broken(source, resolver.cluster(), &mut pauses).await;
            source.pulse.broken();
            // The next LIST needs the room.
            self.workloads.replace(source.kind, source.namespace.as_deref(), []);
            let namespace = source.namespace.as_deref().unwrap_or("all namespaces");
            resolver.tier_failed(Tier::Watch, format!("the watch of {} of {namespace}: {error}", source.kind.plural()));
            self.phase.send_replace(Phase::Begun);
            tokio::time::sleep(pauses.after(&error)).await;
        }
    }

    async fn follow_until_broken(&self, source: &Source, cluster: &Cluster, pauses: &mut Pauses) -> ApiError {
        let Source { kind, namespace, pulse, listed: last_listed } = source;
        let namespace = namespace.as_deref();
        let WatchConfig { request, keep_labels, .. } = self.config;
        let mut events = cluster.watch_workloads(*kind, namespace, pulse, request, self.margin, keep_labels);
        let (mut listed, mut interrupted) = (Vec::new(), None);
        loop {
            let event = tokio::select! {
                biased;
                () = self.hangs(pulse) => {
                    return interrupted.take().unwrap_or(ApiError::TimedOut(self.config.patience));
                }
                () = pulse.caught_up() => {
                    pauses.reset();
                    self.changed.notify_one();
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(Ok(WatchEvent::Listed(workload, object))) => {
                    listed.push((workload, object));
                }
                Some(Ok(WatchEvent::ListDone)) => {
                    interrupted = None;
                    self.workloads.replace(*kind, namespace, std::mem::take(&mut listed));
                    last_listed.store(pulse.listing(), Ordering::Release);
                    self.changed.notify_one();
                }
                Some(Ok(WatchEvent::Applied(workload, object))) => {
                    if self.workloads.apply(workload, object) {
                        self.changed.notify_one();
                    }
                }
                Some(Ok(WatchEvent::Deleted(workload))) => {
                    if self.workloads.remove(&workload) {
                        self.changed.notify_one();
                    }
                }
                Some(Ok(WatchEvent::Interrupted(error))) => {
                    tracing::debug!(kind = kind.as_str(), "a watch request was interrupted: {error}");
                    interrupted = Some(error);
                    tokio::select! {
                        () = self.hangs(pulse) => {}
                        () = tokio::time::sleep(pauses.next()) => {}
                    }
                }
                Some(Err(error)) => return error,
                None => return ApiError::Unreachable("it ended".to_owned()),
            }
        }
    }

    /// Ends when a watch that has begun shows no sign of life any more; a LIST has time limits of its own.
    async fn hangs(&self, pulse: &Pulse) {
        loop {
            match self.config.patience.checked_sub(pulse.silence().unwrap_or_default()) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    /// Makes a new index whenever the images of a workload have changed, as long as no watch is broken: what is known
    /// of a kind whose watch is broken is older than a scan.
    async fn rebuild_on_change(&self, resolver: &Resolver) {
        loop {
            self.changed.notified().await;
            let began = Instant::now();
            let listed = self.sources.iter().map(|source| source.listed.load(Ordering::Acquire));
            let pulses = self.sources.iter().map(|source| Arc::clone(&source.pulse));
            let life = WatchLife { pulses: pulses.zip(listed).collect() };
            if !life.is_unbroken() {
                continue;
            }
            let as_of = life.as_of();
            // What they have told by now is in the index that is made from now on.
            let caught_up: Vec<_> =
                life.pulses.iter().filter(|(pulse, listing)| pulse.is_caught_up(*listing)).collect();
            let workloads = Arc::clone(&self.workloads);
            let built = tokio::task::spawn_blocking(move || document::index_of(&images_of(&workloads))).await;
            let index = match built {
                Ok(index) => index,
                Err(failed) => {
                    tracing::error!("no index could be made from the watch: {failed}");
                    self.sources.iter().for_each(|source| source.pulse.broken());
                    self.phase.send_replace(Phase::Begun);
                    continue;
                }
            };
            // What is known of a kind goes when its watch breaks, and so may be missing here.
            if !life.is_unbroken() {
                continue;
            }
            for (pulse, listing) in caught_up {
                pulse.indexed(*listing);
            }
            let life = Arc::new(life);
            resolver.watched(index, as_of, &life);
            if life.is_live() {
                self.phase.send_replace(Phase::Begun);
            }
            self.version.send_modify(|version| *version += 1);
            tokio::time::sleep((began.elapsed() * 4).min(REBUILD_PAUSE_MAX)).await;
        }
    }
}

fn images_of(workloads: &WatchedWorkloads) -> Images {
    let mut images = Images::new();
    for (workload, object) in workloads.all() {
        for image in object.spec.template.spec.images() {
            match images.get_mut(image.image) {
                Some(workloads) => drop(workloads.insert(workload.clone())),
                None => drop(images.insert(image.image.into(), [workload.clone()].into())),
            }
        }
    }
    images
}
