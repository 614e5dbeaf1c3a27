//! An index, and what is known of it: where it came from, what it has seen, and as of when.

use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::watch_life::WatchLife;
use crate::index::document::PartAsOf;
use crate::index::{Index, Part};

/// An `as_of` that lies further ahead of our clock than this is ignored.
const FUTURE: SignedDuration = SignedDuration::from_secs(60);

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

/// An index, and what is known of it.
#[derive(Debug)]
pub struct LoadedIndex {
    /// What it lists.
    pub index: Index,
    /// Where it came from.
    pub tier: Tier,
    /// It misses nothing that existed at this time by the API server's clock; `None` where that is not known.
    pub as_of: Option<Timestamp>,
    /// Whether it has seen every part of our scope that is not in [`Self::unseen`].
    pub covers_scope: bool,
    /// Whether its document names a scope that is smaller than ours; a hand-made document names none.
    pub is_narrower: bool,
    /// When its scan began, if this process made it: proof without any clock.
    pub scan_began: Option<Instant>,
    /// When it was loaded, by our clock.
    pub loaded_at: Timestamp,
    /// The watch that it was made from.
    pub watch: Option<Arc<WatchLife>>,
    /// The parts of our scope that it has not seen. Its entries of them come from an index before, as of their own time.
    pub unseen: Vec<PartAsOf>,
}

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

impl LoadedIndex {
    /// Whether its watch is live: then it is proven for every push.
    pub fn is_live(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_live())
    }

    /// [`LoadedIndex::as_of`], which moves on while the index follows a live watch.
    pub fn as_of(&self) -> Option<Timestamp> {
        match &self.watch {
            Some(watch) if watch.is_live() => watch.as_of(),
            _ => self.as_of,
        }
    }

    /// Whether it has not seen all that our scope has of this part.
    pub fn lacks(&self, part: &Part) -> bool {
        !self.covers_scope || self.unseen.iter().any(|unseen| unseen.part.overlaps(part))
    }

    /// The time as of which its entries of one part of our scope are complete.
    pub(super) fn part_as_of(&self, part: &Part) -> Option<Timestamp> {
        match self.unseen.iter().find(|unseen| unseen.part == *part) {
            Some(unseen) => unseen.as_of,
            None => self.as_of().filter(|_| self.covers_scope),
        }
    }

    /// Whether `current` is better, so that this index must not replace it.
    ///
    /// Nothing is newer than a live watch. After that, a scan of our own always replaces what is there: it has just
    /// been made. Its time is not compared, because the API server's clock may have been set back since `current`.
    pub(super) fn is_outdone_by(&self, current: &LoadedIndex) -> bool {
        let is_outdone = (self.is_narrower && current.covers_scope)
            || matches!((self.believable_as_of(), current.believable_as_of()), (Some(own), Some(other)) if own < other);
        !self.is_live() && (current.is_live() || (self.tier != Tier::Scan && is_outdone))
    }

    /// Without a time that lies in the future: it was set by hand, or comes from a clock that was ahead.
    fn believable_as_of(&self) -> Option<Timestamp> {
        self.as_of().filter(|as_of| as_of.duration_since(self.loaded_at) < FUTURE)
    }
}
