//! What the tiers give: made an index that is offered, counted and shown; or an error that is.

use std::sync::Arc;

use jiff::Timestamp;

use super::resolver::Resolver;
use super::status::TierStatus;
use super::watch::WatchLife;
use super::{LoadedIndex, Tier};
use crate::index::Index;
use crate::index::document::{Document, Head};
use crate::telemetry::metrics::{ReloadLabels, TierLabel};

impl Resolver {
    /// A tier has a document of `bytes`. One that does not say what it has seen has not seen all that is ours.
    pub(super) fn document_loaded(&self, tier: Tier, bytes: usize, document: Document) {
        let Head { as_of, scope } = document.head;
        let covers_scope = scope.as_ref().map(|scope| scope.covers(self.scope()));
        let status =
            TierStatus { as_of, document_bytes: Some(bytes), warnings: document.warnings, ..TierStatus::default() };
        let loaded = LoadedIndex {
            index: document.index,
            tier,
            as_of,
            covers_scope: covers_scope == Some(true),
            is_narrower: covers_scope == Some(false),
            scan_began: None,
            loaded_at: self.clock().now(),
            watch: None,
        };
        self.tier_loaded(status, loaded);
    }

    /// The watch has an index as of then, which stays current as long as `life` is live.
    pub(super) fn watched(&self, index: Index, as_of: Option<Timestamp>, life: &Arc<WatchLife>) {
        let loaded = LoadedIndex {
            index,
            tier: Tier::Watch,
            as_of,
            covers_scope: true,
            is_narrower: false,
            scan_began: None,
            loaded_at: self.clock().now(),
            watch: Some(Arc::clone(life)),
        };
        self.tier_loaded(TierStatus { as_of, ..TierStatus::default() }, loaded);
    }

    /// A tier has an index: it is offered, counted and shown.
    pub(super) fn tier_loaded(&self, mut status: TierStatus, loaded: LoadedIndex) -> Arc<LoadedIndex> {
        let loaded = Arc::new(loaded);
        let tier = loaded.tier;
        let (images, workloads, as_of) = (loaded.index.images(), loaded.index.workloads(), loaded.as_of);
        status.loaded_at = Some(loaded.loaded_at);
        self.measure(&status);
        self.export_as_of(tier, as_of);
        let was_live = self.current().is_some_and(|current| current.is_live());
        let taken = self.offer(&loaded);
        if taken {
            self.metrics().index_images.set(i64::try_from(images).unwrap_or(i64::MAX));
            self.metrics().index_workloads.set(i64::try_from(workloads).unwrap_or(i64::MAX));
        }
        status.older_than_memory = !taken;
        let result = if taken { "loaded" } else { "older" };
        self.metrics().reloads.get_or_create(&ReloadLabels { tier: tier.as_str(), result }).inc();
        let as_of = as_of.map(tracing::field::display);
        let is_news = !was_live || tier != Tier::Watch;
        if taken && is_news {
            tracing::info!(tier = tier.as_str(), images, workloads, as_of, "index loaded");
        } else {
            let what = if taken { "index loaded" } else { "older than the index in memory" };
            tracing::debug!(tier = tier.as_str(), images, workloads, as_of, "{what}");
        }
        self.board().loaded(tier, status);
        // Those who wait for a fresher index look at this one, too.
        self.refresher().wake();
        loaded
    }

    /// A tier was written from a scan: measured and shown.
    pub(super) fn tier_written(&self, tier: Tier, status: TierStatus) {
        self.measure(&status);
        self.board().written(tier, status);
    }

    fn measure(&self, status: &TierStatus) {
        if let Some(bytes) = status.document_bytes {
            self.metrics().cache_document_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// A tier has none: counted and shown; the index in memory stays.
    pub(super) fn tier_failed(&self, tier: Tier, error: String) {
        if self.board().failed(tier, error) {
            self.metrics().reloads.get_or_create(&ReloadLabels { tier: tier.as_str(), result: "failed" }).inc();
        }
    }

    /// What moves on by itself, to be called before the metrics are shown.
    pub fn export_watch(&self) {
        if let Some(watch) = self.watch() {
            let life = watch.life();
            self.metrics().watch_live.set(life.is_live().into());
            self.export_as_of(Tier::Watch, life.as_of().filter(|_| life.is_live()));
        }
    }

    fn export_as_of(&self, tier: Tier, as_of: Option<Timestamp>) {
        if let Some(as_of) = as_of {
            let tier = TierLabel { tier: tier.as_str() };
            self.metrics().index_as_of.get_or_create(&tier).set(as_of.as_millisecond() as f64 / 1000.0);
        }
    }
}
