//! One list and watch of a part of the scope.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Notify;

use crate::cache::watch_life::Exclusion;
use crate::cluster::Pulse;
use crate::index::Part;

/// One list and watch.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) part: Part,
    pub(super) pulse: Arc<Pulse>,
    /// The last LIST that was whole, as [`Pulse::listing`] counts them.
    pub(super) listed: AtomicU64,
    /// From a LIST that is forbidden to the next that is whole, the index does not depend on this source. Other failures in
    /// between change nothing.
    pub(super) exclusion: Arc<Exclusion>,
    retry: Notify,
}

impl Source {
    pub(super) fn new(part: Part, patience: Duration) -> Self {
        let pulse = Arc::new(Pulse::new(patience));
        Self { part, pulse, listed: AtomicU64::new(0), exclusion: Arc::default(), retry: Notify::new() }
    }

    pub(super) fn is_excluded(&self) -> bool {
        self.exclusion.number().is_some()
    }

    /// Sleeps, but not longer than until [`Self::retry_now`].
    pub(super) async fn pause(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.retry.notified()).await;
    }

    pub(super) fn retry_now(&self) {
        self.retry.notify_one();
    }
}
