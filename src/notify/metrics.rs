//! The metrics of notifications.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::sink::Sink;

/// What became of a message, or of an attempt to send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// The sink has it.
    Delivered,
    /// An attempt failed: no answer, or one that says to try later.
    Retried,
    /// An attempt failed: the file of the target holds no URL.
    NoUrl,
    /// The message was given up at once: the sink does not take it.
    Refused,
    /// The message was given up when its time was over.
    GivenUp,
    /// The message was given up at once: too many waited already.
    Overflow,
}

/// What became of messages. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct NotifyMetrics {
    notifications: Family<[(&'static str, String); 2], Counter>,
}

impl Counted {
    const ALL: [Self; 6] = [Self::Delivered, Self::Retried, Self::NoUrl, Self::Refused, Self::GivenUp, Self::Overflow];

    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::NoUrl => "no_url",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Overflow => "overflow",
        }
    }
}

impl NotifyMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "notifications",
            "What became of notifications and of attempts to send them, by name and result",
            self.notifications.clone(),
        );
    }

    /// From here on a sink is shown, with zeros.
    pub(super) fn show(&self, sink: &Sink) {
        for result in Counted::ALL {
            let _ = self.counter(&sink.name, result);
        }
    }

    pub(super) fn count(&self, name: &str, result: Counted) {
        self.counter(name, result).inc();
    }

    fn counter(&self, name: &str, result: Counted) -> Counter {
        let labels = [("name", name.to_owned()), ("result", result.as_str().to_owned())];
        self.notifications.get_or_create(&labels).clone()
    }

    #[cfg(test)]
    pub(super) fn counted(&self, name: &str, result: Counted) -> u64 {
        self.counter(name, result).get()
    }
}
