//! The metrics of the check of tokens.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::refusal::AuthRefusal;

/// What the check of tokens counts. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthMetrics {
    auth: Family<[(&'static str, &'static str); 1], Counter>,
    signing_key_fetches: Family<[(&'static str, &'static str); 1], Counter>,
    signing_keys_fresh_until: Gauge<f64, AtomicU64>,
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

    /// Counts a check that has failed, or (`None`) accepted the token.
    pub(super) fn count_check(&self, refused: Option<AuthRefusal>) {
        let result = refused.map_or("accepted", AuthRefusal::as_str);
        self.auth.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn keys_fetched(&self, fresh_until: Timestamp) {
        self.signing_keys_fresh_until.set(fresh_until.as_second() as f64);
        self.signing_key_fetches.get_or_create(&[("result", "fetched")]).inc();
    }

    pub(super) fn keys_not_fetched(&self) {
        self.signing_key_fetches.get_or_create(&[("result", "failed")]).inc();
    }
}
