//! One list and watch of a part of the scope.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cluster::Pulse;
use crate::index::Part;

/// One list and watch.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) part: Part,
    pub(super) pulse: Arc<Pulse>,
    /// The last LIST that was whole, as [`Pulse::listing`] counts them.
    pub(super) listed: AtomicU64,
    /// Whether the last LIST was forbidden: then the index does not depend on this source.
    is_forbidden: AtomicBool,
    retry: Notify,
}

impl Source {
    pub(super) fn new(part: Part, patience: Duration) -> Self {
        let pulse = Arc::new(Pulse::new(patience));
        Self { part, pulse, listed: AtomicU64::new(0), is_forbidden: AtomicBool::new(false), retry: Notify::new() }
    }

    pub(super) fn is_forbidden(&self) -> bool {
        self.is_forbidden.load(Ordering::Acquire)
    }

    pub(super) fn set_forbidden(&self, is_forbidden: bool) {
        self.is_forbidden.store(is_forbidden, Ordering::Release);
    }

    /// Sleeps, but not longer than until [`Self::retry_now`].
    pub(super) async fn pause(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.retry.notified()).await;
    }

    pub(super) fn retry_now(&self) {
        self.retry.notify_one();
    }
}
