//! The metrics of pulling.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Subscription;

/// What is counted of pulled messages. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct PullMetrics {
    /// `pushroll_pulled_messages_total{result}`
    messages: Family<[(&'static str, &'static str); 1], Counter>,
    held: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    unreadable: Gauge,
}

/// What became of a pulled message.
#[derive(Debug, Clone, Copy)]
pub(super) enum PullResult {
    /// It is done, or there is nothing to do.
    Acknowledged,
    /// Pub/Sub is to deliver it again.
    GivenBack,
}

impl PullMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("pulled_messages", "Pulled messages, by what became of them", self.messages.clone());
        registry.register("pulled_messages_held", "Pulled messages that are held now", self.held.clone());
        registry.register(
            "pulled_oldest_seconds",
            "For how long the oldest pulled message has been held",
            self.oldest.clone(),
        );
        registry.register("unreadable_subscriptions", "Subscriptions that cannot be read now", self.unreadable.clone());
    }

    pub(super) fn count(&self, result: PullResult) {
        let result = match result {
            PullResult::Acknowledged => "acknowledged",
            PullResult::GivenBack => "given_back",
        };
        self.messages.get_or_create(&[("result", result)]).inc();
    }

    /// Sets the gauges: to be called before they are shown.
    pub(crate) fn export(&self, subscriptions: &[std::sync::Arc<Subscription>], now: Timestamp) {
        let statuses: Vec<_> = subscriptions.iter().map(|subscription| subscription.status()).collect();
        let held: u64 = statuses.iter().map(|status| status.held).sum();
        let oldest = statuses.iter().filter_map(|status| status.oldest_held).min();
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.oldest.set(oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0)));
        let unreadable = statuses.iter().filter(|status| status.error.is_some()).count();
        self.unreadable.set(i64::try_from(unreadable).unwrap_or(i64::MAX));
    }
}
