//! How many pushes the public listener works on at once, and how much memory their large bodies take.
//!
//! A push counts from the end of its body to its answer, so that slow bodies hold up no other push: each costs a
//! connection and the time that it is given.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::args::PublicListenerArgs;
use crate::server::problem::Problem;

/// A body of this size is always read: a message of a registry makes one of 1 KB. All bodies together take at most this
/// for each connection, and once the largest size: larger bodies share that, and wait for each other where it is used
/// up. Decoding a body takes twice its size besides.
pub(in crate::server) const SMALL_BODY: usize = 8 * 1024;
/// Memory is given out in pieces of this size.
const PIECE: usize = 1024;

/// The pushes that are worked on now, and the memory of their bodies.
#[derive(Debug)]
pub(in crate::server) struct InFlight {
    requests: Arc<Semaphore>,
    body_pieces: Arc<Semaphore>,
    body_timeout: Duration,
}

impl InFlight {
    /// A body never has more time than `hold`: then no time would be left for the push.
    pub(in crate::server) fn new(limits: &PublicListenerArgs, hold: Duration) -> Self {
        let pieces = pieces(limits.max_body).min(Semaphore::MAX_PERMITS);
        let requests = Arc::new(Semaphore::new(limits.max_requests));
        let body_timeout = limits.body_timeout.min(hold);
        Self { requests, body_pieces: Arc::new(Semaphore::new(pieces)), body_timeout }
    }

    /// Longest time for a body to come.
    pub(in crate::server) fn body_timeout(&self) -> Duration {
        self.body_timeout
    }

    /// Whether no push is admitted now, so that its body need not be read.
    pub(in crate::server) fn is_full(&self) -> bool {
        self.requests.available_permits() == 0
    }

    /// Admits a push for as long as the permit is kept.
    pub(in crate::server) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).try_acquire_owned().ok()
    }

    /// Waits until there is room for a body of this size, which is at most `--max-body`. All of it at once: bodies with
    /// a part of their room each could wait for each other.
    pub(in crate::server) async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(pieces(bytes)).unwrap_or(u32::MAX);
        // Never closed.
        Arc::clone(&self.body_pieces).acquire_many_owned(pieces).await.ok()
    }
}

fn pieces(bytes: usize) -> usize {
    bytes.div_ceil(PIECE)
}

/// The answer to a push beyond the limit.
pub(in crate::server) fn too_many() -> Problem {
    let detail = "as many pushes as --max-requests allows are being worked on; this one was not handled";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many requests", detail)
}
