//! The index that lookups see now, how each tier is doing, and what an index proves for a push.
//!
//! The tiers report here what they have loaded, or why they have nothing. A new index takes the place of the one in
//! memory unless it is older. A caller that waits for a better index subscribes to [`CurrentIndex::changes`] and asks
//! [`CurrentIndex::meets`] at each change. Where a part of the scope could not be seen, a new index keeps the entries of
//! that part from the index before.
//!
//! It must not know how a tier comes by its index.

mod completed;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use completed::CompletedIndex;

use super::loaded_index::{LoadedIndex, Tier};
use super::metrics::{CacheMetrics, ReloadResult};
use super::off_worker::off_worker;
use super::proof::{Judge, Need};
use super::status::{FailedTier, TierStatus, TierStatuses, Tiers};
use super::unseen::{UnseenPart, UnseenParts};
use super::watch_life::WatchLife;
use crate::clock::{Clock, Clocks, PublisherClock, ServerClock};
use crate::index::document::Document;
use crate::index::{IndexBuilder, Part, Scope};

/// The index in memory, and all that says how good it is.
#[derive(Debug)]
pub(super) struct CurrentIndex {
    scope: Scope,
    index: ArcSwapOption<LoadedIndex>,
    tiers: TierStatuses,
    unseen: UnseenParts,
    mounted: Mutex<Option<MountedDocument>>,
    changed: watch::Sender<()>,
    clock: Clock,
    server_clock: Arc<ServerClock>,
    publisher_clock: PublisherClock,
    clock_margin: Duration,
    metrics: CacheMetrics,
}

/// The document that the mount shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MountedDocument {
    pub(super) fingerprint: u64,
    /// When the poller first saw it.
    pub(super) since: Instant,
}

impl CurrentIndex {
    /// Without an index. Clocks that are further apart than `clock_margin` are not compared. A part that cannot be seen
    /// for `unseen_grace` holds up no push any more.
    pub(super) fn new(
        scope: Scope,
        clock: Clock,
        server_clock: Arc<ServerClock>,
        clock_margin: Duration,
        unseen_grace: Duration,
        metrics: CacheMetrics,
    ) -> Self {
        Self {
            scope,
            index: ArcSwapOption::empty(),
            tiers: TierStatuses::default(),
            unseen: UnseenParts::new(unseen_grace, clock, metrics.unseen_parts.clone()),
            mounted: Mutex::default(),
            changed: watch::Sender::new(()),
            clock,
            server_clock,
            publisher_clock: PublisherClock::unknown(),
            clock_margin,
            metrics,
        }
    }

    // === What is asked ===

    /// The index as it is now: no lock, no call. `None` before the first.
    pub(super) fn load(&self) -> Option<Arc<LoadedIndex>> {
        self.index.load_full()
    }

    /// Whether `loaded` is enough for `need`.
    pub(super) fn meets(&self, loaded: Option<&LoadedIndex>, need: &Need) -> bool {
        self.judge().is_met(need, loaded)
    }

    /// The parts of our scope that `loaded` has not seen and that are not proven for `need` by their own time.
    pub(super) fn unproven_parts(&self, loaded: &LoadedIndex, need: &Need) -> Vec<UnseenPart> {
        self.judge().unproven_parts(need, loaded).map(|part| self.unseen.show(part)).collect()
    }

    fn judge(&self) -> Judge<'_> {
        let clocks = Clocks { now: self.clock.now(), server: &self.server_clock, margin: self.clock_margin };
        Judge { clocks, publisher: &self.publisher_clock, unseen: &self.unseen }
    }

    /// The parts of our scope that cannot be seen now.
    pub(super) fn unseen(&self) -> &UnseenParts {
        &self.unseen
    }

    /// Wakes whenever a tier has loaded an index, even one that did not take the place of another.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The namespaces that an index must have seen.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn publisher_agrees(&self, now: Timestamp) -> bool {
        self.publisher_clock.agrees(now)
    }

    pub(super) fn clock_margin(&self) -> Duration {
        self.clock_margin
    }

    pub(super) fn tiers(&self) -> Tiers {
        self.tiers.all()
    }

    pub(super) fn failed_tiers(&self) -> Vec<FailedTier> {
        self.tiers.failed()
    }

    pub(super) fn mounted(&self) -> Option<MountedDocument> {
        *self.mounted.lock()
    }

    // === What is reported ===

    /// A message came at `received` by our clock; a prompt one shows that our clock agrees with the publisher's.
    pub(super) fn observe_publish_time(&self, published: Timestamp, received: Timestamp) {
        self.publisher_clock.observe(published, received, self.clock_margin);
    }

    /// A tier has read a document of `bytes`. A document that names no scope, or that may lack a workload,
    /// is not taken to cover ours.
    pub(super) fn document_loaded(&self, tier: Tier, bytes: usize, document: Document) {
        let head = document.head;
        let covers_scope = head.covered_scope().map(|scope| scope.covers(&self.scope));
        let (as_of, mut unseen) = head.of_scope(&self.scope);
        let is_any_seen = unseen.len() < self.scope.parts().len();
        if document.is_incomplete {
            unseen.iter_mut().for_each(|unseen| unseen.as_of = None);
        }
        let completed = CompletedIndex::of_document(document.index, unseen, self.load().as_deref());
        let status = TierStatus { document_bytes: Some(bytes), warnings: document.warnings, ..TierStatus::default() };
        let mut loaded = self.loaded(tier, completed, as_of);
        loaded.covers_scope = covers_scope == Some(true) && !document.is_incomplete && is_any_seen;
        loaded.is_narrower = covers_scope == Some(false);
        self.offer(status, loaded);
    }

    /// The index of a tier that was not permitted to see these parts: what the index in memory has of them is added.
    pub(super) fn complete(&self, index: IndexBuilder, unseen: &[Part]) -> CompletedIndex {
        CompletedIndex::of_seen(index, unseen, self.load().as_deref())
    }

    /// A scan that began then has found this.
    pub(super) fn scanned(&self, index: CompletedIndex, as_of: Option<Timestamp>, began: Instant) -> Arc<LoadedIndex> {
        let mut loaded = self.loaded(Tier::Scan, index, as_of);
        loaded.scan_began = Some(began);
        self.offer(TierStatus::default(), loaded)
    }

    /// The watch has made this index, which is current for as long as `life` is live.
    pub(super) fn watched(&self, index: CompletedIndex, as_of: Option<Timestamp>, life: &Arc<WatchLife>) {
        let mut loaded = self.loaded(Tier::Watch, index, as_of);
        loaded.watch = Some(Arc::clone(life));
        self.offer(TierStatus::default(), loaded);
    }

    /// A tier has no index, for this reason; the index in memory stays.
    pub(super) fn tier_failed(&self, tier: Tier, error: String) {
        if self.tiers.set_failed(tier, error) {
            self.metrics.reloads(tier, ReloadResult::Failed).inc();
        }
    }

    /// We have written a tier's document.
    pub(super) fn tier_written(&self, tier: Tier, status: TierStatus) {
        self.measure_document(&status);
        self.tiers.set_written(tier, status);
    }

    /// We have tried to write a tier's document and failed, or (`None`) found nothing to write.
    pub(super) fn tier_not_written(&self, tier: Tier, error: Option<String>) {
        self.tiers.set_write_error(tier, error);
    }

    /// Whether a warning about a tier applies that does not come from its document.
    pub(super) fn set_tier_warning(&self, tier: Tier, warning: &str, applies: bool) {
        self.tiers.set_warning(tier, warning, applies);
    }

    /// The mount shows the document with this fingerprint, whether or not it can be used.
    pub(super) fn mount_shows(&self, fingerprint: u64) {
        let mut mounted = self.mounted.lock();
        if mounted.is_none_or(|mounted| mounted.fingerprint != fingerprint) {
            *mounted = Some(MountedDocument { fingerprint, since: Instant::now() });
        }
    }

    /// Brings the metrics of the watch up to date: they change without an event.
    pub(super) fn export_watch(&self, life: &WatchLife) {
        self.metrics.watch_live.set(life.is_live().into());
        if let Some(as_of) = life.as_of().filter(|_| life.is_live()) {
            self.metrics.set_as_of(Tier::Watch, as_of);
        }
    }

    /// An index of ours: it covers our scope.
    fn loaded(&self, tier: Tier, index: CompletedIndex, as_of: Option<Timestamp>) -> LoadedIndex {
        let CompletedIndex { index, unseen } = index;
        LoadedIndex {
            index,
            tier,
            as_of,
            covers_scope: true,
            is_narrower: false,
            scan_began: None,
            loaded_at: self.clock.now(),
            watch: None,
            unseen,
        }
    }

    fn offer(&self, status: TierStatus, loaded: LoadedIndex) -> Arc<LoadedIndex> {
        let loaded = Arc::new(loaded);
        let (tier, as_of) = (loaded.tier, loaded.as_of);
        let (images, workloads) = (loaded.index.images(), loaded.index.workloads());
        self.measure_document(&status);
        as_of.into_iter().for_each(|as_of| self.metrics.set_as_of(tier, as_of));
        let was_live = self.load().is_some_and(|current| current.is_live());
        let is_taken = self.replace(&loaded);
        if is_taken {
            self.metrics.index_images.set(i64::try_from(images).unwrap_or(i64::MAX));
            self.metrics.index_workloads.set(i64::try_from(workloads).unwrap_or(i64::MAX));
        }
        self.metrics.reloads(tier, if is_taken { ReloadResult::Loaded } else { ReloadResult::Older }).inc();
        let shown_as_of = as_of.map(tracing::field::display);
        // A live watch makes an index at each change of the cluster.
        let is_news = !was_live || tier != Tier::Watch;
        if is_taken && is_news {
            tracing::info!(tier = tier.as_str(), images, workloads, as_of = shown_as_of, "index loaded");
        } else {
            let what = if is_taken { "index loaded" } else { "older than the index in memory" };
            tracing::debug!(tier = tier.as_str(), images, workloads, as_of = shown_as_of, "{what}");
        }
        let loaded_at = Some(loaded.loaded_at);
        self.tiers.set_loaded(tier, TierStatus { as_of, loaded_at, older_than_memory: !is_taken, ..status });
        self.changed.send_replace(());
        loaded
    }

    /// Makes `new` the index in memory, unless it is outdone by what is there. Returns whether it did.
    fn replace(&self, new: &Arc<LoadedIndex>) -> bool {
        // To free the replaced index may take long.
        off_worker(|| {
            let before = self.index.rcu(|current| {
                let keep = current.as_ref().is_some_and(|current| new.is_outdone_by(current));
                if keep { current.clone() } else { Some(Arc::clone(new)) }
            });
            !before.is_some_and(|before| new.is_outdone_by(&before))
        })
    }

    fn measure_document(&self, status: &TierStatus) {
        if let Some(bytes) = status.document_bytes {
            self.metrics.cache_document_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}
