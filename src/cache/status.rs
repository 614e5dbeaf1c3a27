//! How each tier is doing, for `/v1/status` and the log.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

use super::loaded_index::Tier;

/// How one tier is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TierStatus {
    /// The time as of which its last index was true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// When it last gave an index, by our clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<Timestamp>,
    /// Size of that document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_bytes: Option<usize>,
    /// Why it gives none now; an index from before is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why the last write of it failed; it may be readable all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_error: Option<String>,
    /// Its last document is older than the index in memory, which stays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub older_than_memory: bool,
    /// Of the watch alone: whether it is trusted now without a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// What somebody should look at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How every tier is doing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tiers {
    /// The file in our own pod.
    pub mount: TierStatus,
    /// The ConfigMap through the API, our writes to it included.
    pub configmap: TierStatus,
    /// The LISTs.
    pub scan: TierStatus,
    /// The list and watch of every kind.
    pub watch: TierStatus,
}

/// A tier that gives no index now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedTier {
    /// Which.
    pub tier: Tier,
    /// Why.
    pub reason: String,
}

/// The status of every tier. Logs each change once.
#[derive(Debug, Default)]
pub(super) struct TierStatuses {
    tiers: Mutex<Tiers>,
    /// The tiers that have an error. Every answer reads this, without a lock.
    failed: ArcSwap<Vec<FailedTier>>,
}

impl TierStatuses {
    pub(super) fn all(&self) -> Tiers {
        self.tiers.lock().clone()
    }

    pub(super) fn failed(&self) -> Vec<FailedTier> {
        self.failed.load().to_vec()
    }

    /// A tier gave an index.
    pub(super) fn set_loaded(&self, tier: Tier, status: TierStatus) {
        self.replace(tier, |before| TierStatus { write_error: before.write_error.clone(), ..status });
    }

    /// A tier was written: an earlier error of it is over.
    pub(super) fn set_written(&self, tier: Tier, status: TierStatus) {
        self.replace(tier, |before| TierStatus { loaded_at: before.loaded_at, ..status });
    }

    /// Logs the warnings that are new, and that an error is over.
    fn replace(&self, tier: Tier, status: impl FnOnce(&TierStatus) -> TierStatus) {
        let mut tiers = self.tiers.lock();
        let slot = tiers.slot(tier);
        let status = status(slot);
        let recovered = slot.error.is_some();
        let written_again = slot.write_error.is_some() && status.write_error.is_none();
        let news: Vec<_> = status.warnings.iter().filter(|warning| !slot.warnings.contains(warning)).cloned().collect();
        *slot = status;
        if recovered {
            self.failed.store(Arc::new(tiers.failed()));
        }
        drop(tiers);
        for warning in news {
            tracing::warn!(tier = tier.as_str(), "{warning}");
        }
        if recovered || written_again {
            tracing::info!(tier = tier.as_str(), "works again");
        }
    }

    /// A write of a tier failed, or (`None`) there was nothing to write.
    pub(super) fn set_write_error(&self, tier: Tier, error: Option<String>) {
        let mut tiers = self.tiers.lock();
        let slot = tiers.slot(tier);
        let news = error.clone().filter(|error| slot.write_error.as_ref() != Some(error));
        slot.write_error = error;
        drop(tiers);
        if let Some(error) = news {
            tracing::warn!(tier = tier.as_str(), "{error}");
        }
    }

    /// Adds or removes a warning that does not come from the tier's document. The tier's next document removes it, too.
    pub(super) fn set_warning(&self, tier: Tier, warning: &str, applies: bool) {
        let mut tiers = self.tiers.lock();
        let warnings = &mut tiers.slot(tier).warnings;
        let did_apply = warnings.iter().any(|known| known == warning);
        if applies && !did_apply {
            warnings.push(warning.to_owned());
        } else if !applies {
            warnings.retain(|known| known != warning);
        }
        drop(tiers);
        if applies && !did_apply {
            tracing::warn!(tier = tier.as_str(), "{warning}");
        }
    }

    /// A tier gave none. Returns whether it had another error before, or none.
    pub(super) fn set_failed(&self, tier: Tier, error: String) -> bool {
        let mut tiers = self.tiers.lock();
        let slot = tiers.slot(tier);
        let is_news = slot.error.as_ref() != Some(&error);
        if is_news {
            slot.error = Some(error.clone());
            self.failed.store(Arc::new(tiers.failed()));
        }
        drop(tiers);
        if is_news {
            tracing::warn!(tier = tier.as_str(), "{error}");
        }
        is_news
    }
}

impl Tiers {
    fn failed(&self) -> Vec<FailedTier> {
        let tiers = [
            (Tier::Mount, &self.mount),
            (Tier::ConfigMap, &self.configmap),
            (Tier::Scan, &self.scan),
            (Tier::Watch, &self.watch),
        ];
        let failed = |(tier, status): (Tier, &TierStatus)| Some(FailedTier { tier, reason: status.error.clone()? });
        tiers.into_iter().filter_map(failed).collect()
    }

    fn slot(&mut self, tier: Tier) -> &mut TierStatus {
        match tier {
            Tier::Mount => &mut self.mount,
            Tier::ConfigMap => &mut self.configmap,
            Tier::Scan => &mut self.scan,
            Tier::Watch => &mut self.watch,
        }
    }
}
