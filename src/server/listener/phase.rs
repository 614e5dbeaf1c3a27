//! What a connection is doing, and for how long it may be doing it.

use std::time::Duration;

use crate::server::metrics::RefusedReason;

/// Longest time from the first byte of a request to the last of its headers. Those of Pub/Sub come in one packet.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Longest time between two requests of a connection. A load balancer must be the one that closes first, or it sends a
/// request into a connection that is being closed: Google's keep theirs for 600 s, which cannot be changed, and ask for
/// 620 s (Cloud Load Balancing, "Timeouts and retries", HTTP keepalive timeout).
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(620);
/// Longest time in which nothing of an answer can be sent, because the client does not read it.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::server) enum ConnectionPhase {
    /// Nothing of the next request has come.
    Idle,
    /// The headers of a request are coming.
    Headers,
    /// The headers have come. The body has not, or the request is not admitted yet.
    Requested,
    /// The request is being worked on.
    Admitted,
    /// The client does not read the answer.
    Unread,
}

impl ConnectionPhase {
    /// Whether a connection may be closed to make room for another.
    pub(super) fn is_closable(self) -> bool {
        self != Self::Admitted
    }

    /// How long a connection may be in this phase, and as what its end is counted: nothing is refused by the end of one
    /// that is idle. The handling of a request has limits of its own.
    pub(super) fn limit(self) -> Option<(Duration, Option<RefusedReason>)> {
        match self {
            Self::Idle => Some((IDLE_LIMIT, None)),
            Self::Headers => Some((HEADER_LIMIT, Some(RefusedReason::HeaderTime))),
            Self::Unread => Some((WRITE_LIMIT, Some(RefusedReason::WriteTime))),
            Self::Requested | Self::Admitted => None,
        }
    }
}
