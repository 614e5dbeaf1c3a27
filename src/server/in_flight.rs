//! What the public listener takes on at once: so many pushes being worked on, and so many bytes of large bodies.
//!
//! A push counts from the end of its body to its answer, so that slow bodies hold up nobody: they cost a connection
//! each, and the time that they are given.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// A body of this size is read in any case: a message of a registry makes one of 1 KB. What all bodies take together is
/// this for each connection, and one of the largest size: larger ones are read while they fit into that, and wait for
/// each other beyond. Decoding one takes twice its size besides.
pub(super) const SMALL_BODY: usize = 8 * 1024;
/// Memory is given out in pieces of this size.
const PIECE: usize = 1024;

/// The limits of `serve` on what comes in.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections to the public listener.
    pub connections: usize,
    /// Pushes being worked on.
    pub requests: usize,
    /// Longest time for a body to come.
    pub body_time: Duration,
}

impl Limits {
    /// [`Self::connections`] where nobody says otherwise.
    pub const CONNECTIONS: usize = 12_000;
    /// [`Self::requests`] where nobody says otherwise.
    pub const REQUESTS: usize = 512;
}

/// How much of it is taken.
#[derive(Debug)]
pub(crate) struct InFlight {
    requests: Arc<Semaphore>,
    body_pieces: Arc<Semaphore>,
    body_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: Self::CONNECTIONS, requests: Self::REQUESTS, body_time: Duration::from_secs(5) }
    }
}

impl InFlight {
    pub(super) fn new(limits: &Limits, max_body: usize) -> Self {
        let pieces = pieces(max_body).min(Semaphore::MAX_PERMITS);
        let (requests, body_pieces) = (Arc::new(Semaphore::new(limits.requests)), Arc::new(Semaphore::new(pieces)));
        Self { requests, body_pieces, body_time: limits.body_time }
    }

    pub(super) fn body_time(&self) -> Duration {
        self.body_time
    }

    /// Whether there is no use in reading a body.
    pub(super) fn is_full(&self) -> bool {
        self.requests.available_permits() == 0
    }

    /// A push may be worked on, for as long as this is kept.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).try_acquire_owned().ok()
    }

    /// Waits until there is room for a body of this size, at most [`Limits`]' largest. All of it at once: bodies that
    /// have a part each could wait for each other.
    pub(super) async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(pieces(bytes)).unwrap_or(u32::MAX);
        // Never closed.
        Arc::clone(&self.body_pieces).acquire_many_owned(pieces).await.ok()
    }
}

fn pieces(bytes: usize) -> usize {
    bytes.div_ceil(PIECE)
}

/// The answer to a push beyond the limit.
pub(super) fn too_many() -> Problem {
    let detail = "as many pushes as --max-requests allows are being worked on; this one was not handled";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many requests", detail)
}
