//! The watch: an index that follows the cluster, event by event. While it is live it counts as proven.
//!
//! ```text
//! follow    one for each kind and namespace: LIST, then events, into WatchedWorkloads; anew when it breaks or hangs
//! rebuild   a new index when the images of a workload have changed
//! keeper    the ConfigMap follows the index, for the next cold start
//! ```
//!
//! What the promise leaves open: a watch that hangs is trusted until its patience is over, and an API server may tell
//! of a change a moment after it was made. Pods take longer than that moment to be made and to pull; a workload that
//! was created, and pulled, within the patience of a hanging watch can be missed by a push in that same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use kube::runtime::watcher::DefaultBackoff;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Tier;
use super::resolver::Resolver;
use crate::cluster::{ApiError, Cluster, Pulse, WatchEvent, WatchedWorkloads};
use crate::index::Scope;
use crate::index::document::{self, Images};
use crate::workload::WorkloadKind;

/// How the watch is set up.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// How long one watch request lasts, in whole seconds; that the next is answered is the sign of life of a watch
    /// without events.
    pub request: Duration,
    /// For how long a watch without a sign of life is trusted.
    pub patience: Duration,
    /// What tells this replica from the others, in the Lease by which they take turns at writing the ConfigMap.
    pub identity: String,
}

/// The longest that rebuilding may make the index lag behind the events, of which it is a fifth at most.
const REBUILD_PAUSE_MAX: Duration = Duration::from_millis(250);

/// The watch of every kind.
#[derive(Debug)]
pub struct Watch {
    config: WatchConfig,
    margin: Duration,
    sources: Vec<Source>,
    life: Arc<WatchLife>,
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

/// Whether a watch is live, and since when nothing can have escaped it: an index that it gave stays current.
#[derive(Debug)]
pub struct WatchLife {
    pulses: Vec<Arc<Pulse>>,
    patience: Duration,
}

// === impl WatchConfig ===

impl WatchConfig {
    /// As `serve --watch` has it (DESIGN.md 3: noticed within 15 s).
    pub fn new(identity: String) -> Self {
        Self { request: Duration::from_secs(8), patience: Duration::from_secs(15), identity }
    }
}

// === impl WatchLife ===

impl WatchLife {
    /// Whether every kind has shown a sign of life within the patience.
    pub fn is_live(&self) -> bool {
        self.pulses.iter().all(|pulse| pulse.is_live(self.patience))
    }

    /// A time by the API server's clock before which nothing has escaped it.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.pulses.iter().map(|pulse| pulse.as_of()).min().flatten()
    }
}

// === impl Watch ===

impl Watch {
    /// A watch of every kind in every namespace of `scope`; [`Watch::run`] begins it.
    pub(super) fn new(config: WatchConfig, scope: &Scope, margin: Duration, workloads: Arc<WatchedWorkloads>) -> Self {
        let namespaces: Vec<Option<String>> = match scope {
            Scope::AllNamespaces => vec![None],
            Scope::Namespaces(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        };
        let source = |kind| namespaces.iter().map(move |namespace| (kind, namespace.clone()));
        let sources: Vec<Source> = WorkloadKind::ALL
            .into_iter()
            .flat_map(source)
            .map(|(kind, namespace)| Source { kind, namespace, pulse: Arc::default(), listed: AtomicU64::new(0) })
            .collect();
        let pulses = sources.iter().map(|source| Arc::clone(&source.pulse)).collect();
        let life = Arc::new(WatchLife { pulses, patience: config.patience });
        let (phase, version) = (watch::Sender::new(Phase::Beginning), watch::Sender::new(0));
        Self { config, margin, sources, life, workloads, changed: Notify::new(), phase, version }
    }

    /// Whether it is live, now.
    pub(super) fn life(&self) -> &Arc<WatchLife> {
        &self.life
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
    pub(super) fn images(&self) -> Images {
        images_of(&self.workloads)
    }

    /// Wakes at every new index.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until the first LISTs are in the index, or one of them has failed.
    pub(super) async fn begun(&self) {
        // The sender is ours.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Begun).await;
    }

    /// Watches until `shutdown`.
    pub(super) async fn run(&self, resolver: &Resolver, shutdown: CancellationToken) {
        let sources = join_all(self.sources.iter().map(|source| self.follow(source, resolver)));
        shutdown.run_until_cancelled(async { tokio::join!(sources, self.rebuild_on_change(resolver)) }).await;
    }

    /// Begins a watch, and begins it anew whenever it is broken.
    async fn follow(&self, source: &Source, resolver: &Resolver) {
        let mut backoff = DefaultBackoff::default();
        loop {
            let error = self.follow_until_broken(source, resolver.cluster()).await;
            source.pulse.broken();
            let namespace = source.namespace.as_deref().unwrap_or("all namespaces");
            resolver.tier_failed(Tier::Watch, format!("the watch of {} of {namespace}: {error}", source.kind.plural()));
            self.phase.send_replace(Phase::Begun);
            tokio::time::sleep(backoff.next().unwrap_or(self.config.patience)).await;
        }
    }

    async fn follow_until_broken(&self, source: &Source, cluster: &Cluster) -> ApiError {
        let Source { kind, namespace, pulse, listed: last_listed } = source;
        let namespace = namespace.as_deref();
        let mut events = cluster.watch_workloads(*kind, namespace, pulse, self.config.request, self.margin);
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.hangs(pulse) => return ApiError::TimedOut(self.config.patience),
            };
            match event {
                Some(Ok(WatchEvent::Listed(workload, object))) => {
                    listed.push((workload, object));
                }
                Some(Ok(WatchEvent::ListDone)) => {
                    self.workloads.replace(*kind, namespace, std::mem::take(&mut listed));
                    last_listed.store(pulse.listed(), Ordering::Release);
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
            let listed: Vec<u64> = self.sources.iter().map(|source| source.listed.load(Ordering::Acquire)).collect();
            if self.sources.iter().zip(&listed).any(|(source, listed)| source.pulse.listing() != *listed) {
                continue;
            }
            let workloads = Arc::clone(&self.workloads);
            let built = tokio::task::spawn_blocking(move || document::index_of(&images_of(&workloads))).await;
            let Ok(index) = built else { continue };
            let loaded = resolver.watched(index, &self.life);
            // Only now may the watch be trusted: what it has listed can be found.
            for (source, listed) in self.sources.iter().zip(listed) {
                source.pulse.indexed(listed);
            }
            // A scan may have come between, while the watch was not live yet.
            resolver.offer_again(&loaded);
            self.phase.send_replace(Phase::Begun);
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
