//! What the server counts: connections, and what was refused.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::listener::Listener;

/// The server's metrics. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerMetrics {
    /// `pushroll_connections{listener}`
    connections: Family<[(&'static str, &'static str); 1], Gauge>,
    /// `pushroll_refused_total{listener,reason}`
    refused: Family<[(&'static str, &'static str); 2], Counter>,
}

/// The limit that a connection or a request has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedReason {
    /// A new connection was refused: every other one is being worked on.
    Connections,
    /// A connection was closed to make room for another.
    Displaced,
    /// A connection was closed: its headers did not come in time.
    HeaderTime,
    /// A connection was closed: too many others have large headers.
    HeaderMemory,
    /// A connection was closed: its answer was not read in time.
    WriteTime,
    /// A push was refused: as many as allowed are being worked on.
    Requests,
    /// A push was refused: its body did not come in time.
    BodyTime,
    /// A push was refused: there was no memory for its large body in time.
    BodyMemory,
    /// A push was refused: its body is too large.
    BodySize,
}

impl ServerMetrics {
    /// Shows them in `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections, by listener", self.connections.clone());
        registry.register(
            "refused",
            "Connections and requests that were refused or cut off, by listener and the limit that they met",
            self.refused.clone(),
        );
    }

    /// The number of open connections.
    pub(super) fn connections(&self, listener: Listener) -> Gauge {
        self.connections.get_or_create(&[("listener", listener.as_str())]).clone()
    }

    /// Counts one that was refused or cut off.
    pub(super) fn count_refused(&self, listener: Listener, reason: RefusedReason) {
        self.refused.get_or_create(&[("listener", listener.as_str()), ("reason", reason.as_str())]).inc();
    }
}

impl RefusedReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Displaced => "displaced",
            Self::HeaderTime => "header_time",
            Self::HeaderMemory => "header_memory",
            Self::WriteTime => "write_time",
            Self::Requests => "requests",
            Self::BodyTime => "body_time",
            Self::BodyMemory => "body_memory",
            Self::BodySize => "body_size",
        }
    }
}
