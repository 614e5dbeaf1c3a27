//! The watch: an index that follows the cluster, event by event. While it is live it counts as proven.
//!
//! ```text
//! follow    one for each part of the scope: LIST, then events, into WatchedWorkloads; again when it breaks or hangs
//! rebuild   a new index when the images of a workload have changed
//! ```
//!
//! A part whose LIST is forbidden cannot be seen, by a scan neither. The index does not depend on it: its entries are kept
//! from the index before. A part that may be listed and not watched is seen by scans, and the watch is not live.
//!
//! What a live watch does not prove: a watch that hangs is trusted until its patience is over, an API server may report a
//! change a moment after it was made, and the index follows a moment later. Pods take longer than these moments to be
//! made and to pull; but a workload that was created, and pulled, within the patience of a hanging watch can be missed by
//! a push in that same time. And an API server whose own watch cache has fallen behind etcd looks like one where nothing
//! happens.

mod config;
mod pauses;
mod source;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use config::WatchConfig;
use pauses::Pauses;
use source::Source;

use super::current::CurrentIndex;
use super::loaded_index::Tier;
use super::watch_life::WatchLife;
use crate::cluster::{ApiError, Cluster, Pulse, WatchEvent, WatchedObject, WatchedWorkloads, WorkloadObject};
use crate::index::Part;
use crate::index::document::{self, Images};
use crate::workload::WorkloadRef;

/// The pause after each new index is four times as long as the index took, so that this takes a fifth of a processor; but
/// it is never longer than this.
const REBUILD_PAUSE_MAX: Duration = Duration::from_millis(250);

/// The watch of every kind.
#[derive(Debug)]
pub struct Watch {
    config: WatchConfig,
    cluster: Cluster,
    current: Arc<CurrentIndex>,
    sources: Vec<Source>,
    workloads: Arc<WatchedWorkloads>,
    /// The images of a workload have changed, or a watch has caught up: there is an index to be made.
    changed: Notify,
    /// Whether it has been live, or has failed. Until then the first LISTs are under way, and a scan would do the same
    /// work again.
    has_begun: watch::Sender<bool>,
    /// Counts the indexes that it has made.
    version: watch::Sender<u64>,
}

/// Why a list and watch ended.
struct Broken {
    error: ApiError,
    /// Whether its LIST was whole.
    is_listed: bool,
}

impl Watch {
    /// A watch of every part of the scope; [`Watch::run`] begins it.
    pub(super) fn new(config: WatchConfig, cluster: Cluster, current: Arc<CurrentIndex>) -> Self {
        let sources = current.scope().parts().into_iter().map(|part| Source::new(part, config.patience)).collect();
        let (has_begun, version) = (watch::Sender::new(false), watch::Sender::new(0));
        let (workloads, changed) = (cluster.watched(), Notify::new());
        Self { config, cluster, current, sources, workloads, changed, has_begun, version }
    }

    /// What an index that is made now would rest on.
    pub(super) fn life(&self) -> WatchLife {
        self.life_of(|source| source.pulse.listing())
    }

    /// As [`Self::life`], resting on the LISTs of these numbers.
    fn life_of(&self, listing: impl Fn(&Source) -> u64) -> WatchLife {
        let (mut pulses, mut excluded) = (Vec::new(), Vec::new());
        for source in &self.sources {
            if let Some(number) = source.exclusion.number() {
                excluded.push((source.part.clone(), Arc::clone(&source.exclusion), number));
            } else {
                pulses.push((Arc::clone(&source.pulse), listing(source)));
            }
        }
        WatchLife { pulses, excluded }
    }

    /// A scan has seen all parts but these: what waits for a permission to LIST another one tries again.
    pub(super) fn retry_but(&self, unseen: &[Part]) {
        let sources = self.sources.iter().filter(|source| source.is_excluded() && !unseen.contains(&source.part));
        sources.for_each(Source::retry_now);
    }

    /// Which replica this is.
    pub(super) fn identity(&self) -> &str {
        &self.config.identity
    }

    /// [`WatchLife::as_of`] is later than a change at the latest this long after it: two requests.
    pub(super) fn certainty(&self) -> Duration {
        self.config.request * 2
    }

    /// The images of all workloads, in the order of the document; `None` where that panicked.
    pub(super) async fn images(&self) -> Option<Images> {
        let workloads = Arc::clone(&self.workloads);
        tokio::task::spawn_blocking(move || images_of(&workloads)).await.ok()
    }

    /// Wakes at every new index.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until it is live for the first time or has failed, but not longer than its patience: a LIST may take long.
    pub(super) async fn until_begun(&self) {
        let mut has_begun = self.has_begun.subscribe();
        let _ = tokio::time::timeout(self.config.patience, has_begun.wait_for(|has_begun| *has_begun)).await;
    }

    /// Watches until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        let sources = join_all(self.sources.iter().map(|source| self.follow(source)));
        shutdown.run_until_cancelled(async { tokio::join!(sources, self.rebuild_on_change()) }).await;
    }

    /// Begins a watch, and begins it again whenever it is broken.
    async fn follow(&self, source: &Source) {
        let mut pauses = Pauses::default();
        loop {
            let Broken { error, is_listed } = self.follow_until_broken(source, &mut pauses).await;
            source.pulse.broken();
            let Part { kind, namespace } = &source.part;
            // The next LIST brings all objects again: they must not be in memory twice.
            self.workloads.replace(*kind, namespace.as_deref(), []);
            if !is_listed && matches!(error, ApiError::Forbidden(_)) {
                source.exclusion.set(true);
                self.current.unseen().part_listed(&source.part, Some(error.to_string()));
            }
            if source.is_excluded() && !self.sources.iter().all(Source::is_excluded) {
                // The index can be made without it.
                self.changed.notify_one();
            } else {
                let namespace = namespace.as_deref().unwrap_or("all namespaces");
                let error = format!("the watch of {} of {namespace}: {error}", kind.plural());
                self.current.tier_failed(Tier::Watch, error);
                self.has_begun.send_replace(true);
            }
            source.pause(pauses.after(&error)).await;
        }
    }

    async fn follow_until_broken(&self, source: &Source, pauses: &mut Pauses) -> Broken {
        let Source { part: Part { kind, namespace }, pulse, listed: last_listed, .. } = source;
        let namespace = namespace.as_deref();
        let WatchConfig { request, keep_labels, .. } = self.config;
        let margin = self.current.clock_margin();
        let mut events = self.cluster.watch_workloads(*kind, namespace, pulse, request, margin, keep_labels);
        let mut listed: Vec<(WorkloadRef, WatchedObject)> = Vec::new();
        let (mut interrupted, mut is_listed) = (None, false);
        let broken = |error, is_listed| Broken { error, is_listed };
        loop {
            let event = tokio::select! {
                biased;
                () = self.hangs(pulse) => {
                    let error = interrupted.take().unwrap_or(ApiError::TimedOut(self.config.patience));
                    return broken(error, is_listed);
                }
                () = pulse.caught_up() => {
                    pauses.reset();
                    self.changed.notify_one();
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(Ok(WatchEvent::Listed(mut workload, object))) => {
                    // A LIST is in the order of the namespaces: their names are shared.
                    if let Some((last, _)) = listed.last()
                        && last.namespace == workload.namespace
                    {
                        workload.namespace = Arc::clone(&last.namespace);
                    }
                    listed.push((workload, object));
                }
                Some(Ok(WatchEvent::ListDone)) => {
                    (interrupted, is_listed) = (None, true);
                    self.workloads.replace(*kind, namespace, std::mem::take(&mut listed));
                    last_listed.store(pulse.listing(), Ordering::Release);
                    source.exclusion.set(false);
                    self.current.unseen().part_listed(&source.part, None);
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
                Some(Err(error)) => return broken(error, is_listed),
                None => return broken(ApiError::Unreachable("it ended".to_owned()), is_listed),
            }
        }
    }

    /// Ends when an open watch has shown no sign of life for too long; a LIST has time limits of its own.
    async fn hangs(&self, pulse: &Pulse) {
        loop {
            match self.config.patience.checked_sub(pulse.silence().unwrap_or_default()) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    /// Makes a new index whenever the images of a workload have changed, but not while a watch is broken: the objects of
    /// its part are forgotten then.
    async fn rebuild_on_change(&self) {
        loop {
            self.changed.notified().await;
            let began = Instant::now();
            let life = self.life_of(|source| source.listed.load(Ordering::Acquire));
            if !life.is_unbroken() {
                continue;
            }
            let as_of = life.as_of();
            // An index that is made from now on has all that these watches have reported.
            let caught_up: Vec<_> =
                life.pulses.iter().filter(|(pulse, listing)| pulse.is_caught_up(*listing)).collect();
            let (workloads, current, unseen) = (Arc::clone(&self.workloads), Arc::clone(&self.current), life.unseen());
            let build = move || current.complete(document::builder_of(&images_of(&workloads)), &unseen);
            let built = tokio::task::spawn_blocking(build).await;
            let index = match built {
                Ok(index) => index,
                Err(failed) => {
                    tracing::error!("no index could be made from the watch: {failed}");
                    self.sources.iter().for_each(|source| source.pulse.broken());
                    self.has_begun.send_replace(true);
                    continue;
                }
            };
            // A watch that has broken meanwhile has forgotten its objects: they may be missing from the index.
            if !life.is_unbroken() {
                continue;
            }
            for (pulse, listing) in caught_up {
                pulse.indexed(*listing);
            }
            let life = Arc::new(life);
            self.current.watched(index, as_of, &life);
            if life.is_live() {
                self.has_begun.send_replace(true);
            }
            self.version.send_modify(|version| *version += 1);
            tokio::time::sleep((began.elapsed() * 4).min(REBUILD_PAUSE_MAX)).await;
        }
    }
}

/// They are made at each change, so they take few pieces of memory.
fn images_of(workloads: &WatchedWorkloads) -> Images {
    let of_workload = |(workload, object): (WorkloadRef, Arc<WorkloadObject>)| {
        let images: Vec<_> = object.spec.template.spec.images().map(|image| image.image.to_owned()).collect();
        images.into_iter().map(move |image| (image, [workload.clone()]))
    };
    workloads.all().flat_map(of_workload).collect()
}
