//! How each tier is doing: for `/v1/status`, and for one log line whenever that changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use super::Tier;

/// One tier, as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TierStatus {
    /// What its last document or scan said of its time.
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
    /// Why it could not be written the last time; it may be read all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_error: Option<String>,
    /// Its last document says of itself that it is older than the index in memory, which stays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub older_than_memory: bool,
    /// Whether it is trusted now, unasked; of the watch alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// What is odd about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Every tier.
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

/// Where the tiers report.
#[derive(Debug, Default)]
pub struct Board {
    tiers: Mutex<Tiers>,
    /// Those of `tiers` that have an error: read for every answer, without a lock.
    failed: ArcSwap<Vec<FailedTier>>,
}

impl Board {
    /// All tiers as they are now.
    pub fn tiers(&self) -> Tiers {
        self.lock().clone()
    }

    /// The tiers that give no index now.
    pub fn failed_tiers(&self) -> Vec<FailedTier> {
        self.failed.load().to_vec()
    }

    /// A tier gave an index.
    pub fn loaded(&self, tier: Tier, status: TierStatus) {
        self.replace(tier, |before| TierStatus { write_error: before.write_error.clone(), ..status });
    }

    /// A tier was written: whatever was wrong with it is no more.
    pub fn written(&self, tier: Tier, status: TierStatus) {
        self.replace(tier, |before| TierStatus { loaded_at: before.loaded_at, ..status });
    }

    /// Logs what is new: a warning that stands already was told.
    fn replace(&self, tier: Tier, status: impl FnOnce(&TierStatus) -> TierStatus) {
        let mut tiers = self.lock();
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

    /// A write of a tier failed, or (`None`) there was nothing to write. Logged once for each different error.
    pub fn not_written(&self, tier: Tier, error: Option<String>) {
        let mut tiers = self.lock();
        let slot = tiers.slot(tier);
        let news = error.clone().filter(|error| slot.write_error.as_ref() != Some(error));
        slot.write_error = error;
        drop(tiers);
        if let Some(error) = news {
            tracing::warn!(tier = tier.as_str(), "{error}");
        }
    }

    /// Something about a tier that its documents do not tell: whether this warning stands. Logged when it begins to;
    /// the tier's next document withdraws it.
    pub fn set_warning(&self, tier: Tier, warning: &str, stands: bool) {
        let mut tiers = self.lock();
        let warnings = &mut tiers.slot(tier).warnings;
        let stood = warnings.iter().any(|known| known == warning);
        if stands && !stood {
            warnings.push(warning.to_owned());
        } else if !stands {
            warnings.retain(|known| known != warning);
        }
        drop(tiers);
        if stands && !stood {
            tracing::warn!(tier = tier.as_str(), "{warning}");
        }
    }

    /// A tier gave none. Logged once for each different error; returns whether this one is news.
    pub fn failed(&self, tier: Tier, error: String) -> bool {
        let mut tiers = self.lock();
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

    fn lock(&self) -> MutexGuard<'_, Tiers> {
        self.tiers.lock()
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
