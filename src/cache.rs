//! Where the index comes from, and whether it is fresh enough for a push.
//!
//! ```text
//! mount     a file that the kubelet swaps            0 API calls   polled
//! configmap the same document through the API        1 API call    ┐ one round of `refresh`:
//! scan      a LIST of every kind, written back       3 API calls   ┘ single flight, an interval apart
//!
//! watch     LIST once, then events                   proven while it is live; keeper writes the ConfigMap from it
//!
//! mount_refresh: whoever has written the ConfigMap tells the pods that mount it
//!
//! all of them offer to CurrentIndex, which lookups read without a lock; proof says what an index proves
//! ```
//!
//! It must not know HTTP, nor what is done to the workloads that it finds.

pub mod capacity;
pub mod configmap;
pub mod immutable;
mod intake;
mod keeper;
pub mod mount;
pub mod mount_lag;
pub mod mount_refresh;
mod off_worker;
mod poller;
pub mod proof;
mod refresh;
pub mod resolver;
pub mod scan;
pub mod status;
pub mod watch;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::index::Index;

pub use resolver::{Resolver, ResolverConfig};
pub use watch::{WatchConfig, WatchLife};

/// Where an index came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The file in our own pod.
    Mount,
    /// The ConfigMap, through the API.
    ConfigMap,
    /// A LIST of every kind.
    Scan,
    /// A list and watch of every kind.
    Watch,
}

/// Clocks that are this far apart are not compared anywhere; a time that lies further ahead is no time.
const FUTURE: SignedDuration = SignedDuration::from_secs(60);

/// An index, and what is known of it.
#[derive(Debug)]
pub struct LoadedIndex {
    /// What it lists.
    pub index: Index,
    /// Where it came from.
    pub tier: Tier,
    /// A time by the API server's clock before which nothing has escaped it, where it says.
    pub as_of: Option<Timestamp>,
    /// Whether it has seen every namespace that is ours.
    pub covers_scope: bool,
    /// Whether it says of itself that it has not; a hand-made document says nothing.
    pub is_narrower: bool,
    /// When its scan began, if this process made it: proof without any clock.
    pub scan_began: Option<Instant>,
    /// When it was loaded, by our clock.
    pub loaded_at: Timestamp,
    /// Of the watch that it follows.
    pub watch: Option<Arc<WatchLife>>,
}

/// The index that lookups see. Replaced whole; readers take no lock.
#[derive(Debug, Default)]
pub struct CurrentIndex(ArcSwapOption<LoadedIndex>);

// === impl Tier ===

impl Tier {
    /// As in answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::ConfigMap => "configmap",
            Self::Scan => "scan",
            Self::Watch => "watch",
        }
    }
}

// === impl CurrentIndex ===

impl CurrentIndex {
    /// The index as it is now; `None` before the first.
    pub fn load(&self) -> Option<Arc<LoadedIndex>> {
        self.0.load_full()
    }

    /// Takes the place of what is there, unless it is a document that says of itself that it is older, or that it
    /// has seen less. Returns whether it did.
    pub fn offer(&self, new: Arc<LoadedIndex>) -> bool {
        let before = self.0.rcu(|current| {
            let keep = current.as_ref().is_some_and(|current| new.is_outdone_by(current));
            if keep { current.clone() } else { Some(Arc::clone(&new)) }
        });
        !before.is_some_and(|before| new.is_outdone_by(&before))
    }
}

impl LoadedIndex {
    /// Whether it follows a watch that is live: then it is proven for every push.
    pub fn is_live(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_live())
    }

    /// [`LoadedIndex::as_of`], which moves on while it follows a live watch.
    pub fn as_of(&self) -> Option<Timestamp> {
        match &self.watch {
            Some(watch) if watch.is_live() => watch.as_of(),
            _ => self.as_of,
        }
    }

    /// Nothing is newer than a live watch. Else a scan of our own is never outdone: it began after all that was
    /// there was loaded, or nearly so, and must not be shut out by a document from the future of an API server whose
    /// clock was set back.
    fn is_outdone_by(&self, other: &LoadedIndex) -> bool {
        let is_outdone = (self.is_narrower && other.covers_scope)
            || matches!((self.known_as_of(), other.known_as_of()), (Some(own), Some(others)) if own < others);
        !self.is_live() && (other.is_live() || (self.tier != Tier::Scan && is_outdone))
    }

    /// A time in the future, by hand or from a clock that was ahead, says nothing.
    fn known_as_of(&self) -> Option<Timestamp> {
        self.as_of().filter(|as_of| as_of.duration_since(self.loaded_at) < FUTURE)
    }
}
