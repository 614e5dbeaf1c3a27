//! The metrics of the check of tokens.

use std::fmt::{self, Write as _};
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::refusal::AuthRefusal;

/// What the check of tokens counts. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthMetrics {
    auth: Family<CheckLabels, Counter>,
    signing_key_fetches: Family<FetchLabels, Counter>,
    signing_keys_fresh_until: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    result: Checked,
}

/// The result of a check: refused for a reason, or accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Checked(Option<AuthRefusal>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    result: Fetched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fetched {
    Fetched,
    Failed,
}

impl AuthMetrics {
    /// Shows them in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "auth",
            "Pushes whose token was checked, by result: accepted, or the check that failed",
            self.auth.clone(),
        );
        registry.register(
            "signing_key_fetches",
            "Fetches of the keys that tokens are checked with, by result",
            self.signing_key_fetches.clone(),
        );
        registry.register(
            "signing_keys_fresh_until_seconds",
            "When the keys that tokens are checked with expire, Unix time; they are used for a day after",
            self.signing_keys_fresh_until.clone(),
        );
    }

    pub(super) fn count_check(&self, refused: Option<AuthRefusal>) {
        self.auth.get_or_create(&CheckLabels { result: Checked(refused) }).inc();
    }

    pub(super) fn keys_fetched(&self, fresh_until: Timestamp) {
        self.signing_keys_fresh_until.set(fresh_until.as_second() as f64);
        self.count_fetch(Fetched::Fetched);
    }

    pub(super) fn keys_not_fetched(&self) {
        self.count_fetch(Fetched::Failed);
    }

    fn count_fetch(&self, result: Fetched) {
        self.signing_key_fetches.get_or_create(&FetchLabels { result }).inc();
    }
}

impl EncodeLabelValue for Checked {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.0.map_or("accepted", AuthRefusal::as_str))
    }
}

impl EncodeLabelValue for Fetched {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Fetched => "fetched",
            Self::Failed => "failed",
        })
    }
}
