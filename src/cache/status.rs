//! How each tier is doing: for `/v1/status`, and for one log line whenever that changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
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
    /// Its last document says of itself that it is older than the index in memory, which stays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub older_than_memory: bool,
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
}

/// Where the tiers report.
#[derive(Debug, Default)]
pub struct Board(Mutex<Tiers>);

impl Board {
    /// All tiers as they are now.
    pub fn tiers(&self) -> Tiers {
        self.lock().clone()
    }

    /// A tier gave an index.
    pub fn loaded(&self, tier: Tier, status: TierStatus) {
        self.replace(tier, |_| status);
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
        let news: Vec<_> = status.warnings.iter().filter(|warning| !slot.warnings.contains(warning)).cloned().collect();
        *slot = status;
        drop(tiers);
        for warning in news {
            tracing::warn!(tier = tier.as_str(), "{warning}");
        }
        if recovered {
            tracing::info!(tier = tier.as_str(), "works again");
        }
    }

    /// A tier gave none. Logged once for each different error; returns whether this one is news.
    pub fn failed(&self, tier: Tier, error: String) -> bool {
        let mut tiers = self.lock();
        let slot = tiers.slot(tier);
        let is_news = slot.error.as_ref() != Some(&error);
        if is_news {
            slot.error = Some(error.clone());
        }
        drop(tiers);
        if is_news {
            tracing::warn!(tier = tier.as_str(), "{error}");
        }
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Tiers> {
        // Nothing that holds the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tiers {
    fn slot(&mut self, tier: Tier) -> &mut TierStatus {
        match tier {
            Tier::Mount => &mut self.mount,
            Tier::ConfigMap => &mut self.configmap,
            Tier::Scan => &mut self.scan,
        }
    }
}
