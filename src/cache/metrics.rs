//! The metrics of the index and of the tiers that it comes from.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::loaded_index::Tier;

/// What the cache counts and measures. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct CacheMetrics {
    pub(super) index_images: Gauge,
    pub(super) index_workloads: Gauge,
    index_as_of: Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>>,
    pub(super) watch_live: Gauge,
    pub(super) unseen_parts: Gauge,
    reloads: Family<[(&'static str, &'static str); 2], Counter>,
    pub(super) cache_document_bytes: Gauge,
}

/// What came of loading an index.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReloadResult {
    /// It is the index in memory now.
    Loaded,
    /// The index in memory is newer, and stays.
    Older,
    /// There was none.
    Failed,
}

impl CacheMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("index_images", "Image references in the index", self.index_images.clone());
        registry.register("index_workloads", "Workloads in the index", self.index_workloads.clone());
        registry.register(
            "index_as_of_seconds",
            "When the index of a tier was true, Unix time",
            self.index_as_of.clone(),
        );
        registry.register(
            "watch_live",
            "Whether the watch is trusted now, so that no push scans (0 without --watch)",
            self.watch_live.clone(),
        );
        registry.register(
            "unseen_parts",
            "Parts of the scope (a kind in a namespace) that cannot be seen: the permission is missing",
            self.unseen_parts.clone(),
        );
        registry.register("reloads", "Indexes loaded, by tier and result", self.reloads.clone());
        registry.register(
            "cache_document_bytes",
            "Size of the cache document last read or written, as it is stored: compressed where it is",
            self.cache_document_bytes.clone(),
        );
    }

    pub(super) fn set_as_of(&self, tier: Tier, as_of: Timestamp) {
        let seconds = as_of.as_millisecond() as f64 / 1000.0;
        self.index_as_of.get_or_create(&[("tier", tier.as_str())]).set(seconds);
    }

    pub(super) fn reloads(&self, tier: Tier, result: ReloadResult) -> Counter {
        let result = match result {
            ReloadResult::Loaded => "loaded",
            ReloadResult::Older => "older",
            ReloadResult::Failed => "failed",
        };
        self.reloads.get_or_create(&[("tier", tier.as_str()), ("result", result)]).clone()
    }
}
