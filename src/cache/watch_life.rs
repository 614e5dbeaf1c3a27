//! Whether an index that was made from a watch may still be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::cluster::Pulse;
use crate::index::Part;

/// The watches that an index was made from. The index is current for as long as each of them is live.
#[derive(Debug)]
pub struct WatchLife {
    /// The watch of each part of the scope that can be seen, with the number of the LIST that the index was made from.
    pub(super) pulses: Vec<(Arc<Pulse>, u64)>,
    /// Each other part, with the number of its exclusion. Where one is over, events may no longer reach the index.
    pub(super) excluded: Vec<(Part, Arc<Exclusion>, u64)>,
}

/// Whether a part is left out of the index, because its LIST is forbidden. Each exclusion has a number: a part that could
/// be seen in between is excluded anew.
#[derive(Debug, Default)]
pub(super) struct Exclusion {
    /// Odd while the part is excluded.
    changes: AtomicU64,
}

impl Exclusion {
    /// The number of the exclusion; `None` where the part is not excluded.
    pub(super) fn number(&self) -> Option<u64> {
        Some(self.changes.load(Ordering::Acquire)).filter(|changes| changes % 2 == 1)
    }

    /// To be called by the one task that follows the part.
    pub(super) fn set(&self, is_excluded: bool) {
        if self.number().is_some() != is_excluded {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl WatchLife {
    /// Whether each watch still goes on from that LIST, and has shown a sign of life recently enough.
    pub fn is_live(&self) -> bool {
        self.has_its_parts() && self.pulses.iter().all(|(pulse, listing)| pulse.is_live(*listing))
    }

    /// Up to this time, by the API server's clock, the watches have reported every change, if none is broken.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.pulses.iter().map(|(pulse, _)| pulse.as_of()).min().flatten()
    }

    /// The parts that an index of these watches does not see.
    pub(super) fn unseen(&self) -> Vec<Part> {
        self.excluded.iter().map(|(part, ..)| part.clone()).collect()
    }

    /// Whether no watch has broken since that LIST.
    pub(super) fn is_unbroken(&self) -> bool {
        self.has_its_parts() && self.pulses.iter().all(|(pulse, listing)| pulse.listing() == *listing)
    }

    /// Whether it can see a part, and each part that it cannot see is still excluded.
    fn has_its_parts(&self) -> bool {
        let is_excluded = |(_, exclusion, number): &(Part, Arc<Exclusion>, u64)| exclusion.number() == Some(*number);
        !self.pulses.is_empty() && self.excluded.iter().all(is_excluded)
    }
}
