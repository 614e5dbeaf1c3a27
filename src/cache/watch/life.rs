//! Whether what a watch gave may still be trusted.

use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::Pulse;

/// What an index that a watch gave goes on to be: current, as long as each watch that it was made from is live.
#[derive(Debug)]
pub struct WatchLife {
    /// Each with the LIST with which it was begun.
    pub(super) pulses: Vec<(Arc<Pulse>, u64)>,
}

impl WatchLife {
    /// Whether every kind has shown a sign of life within the patience, since this index was made.
    pub fn is_live(&self) -> bool {
        self.pulses.iter().all(|(pulse, listing)| pulse.is_live(*listing))
    }

    /// A time by the API server's clock before which nothing has escaped it, as long as it is unbroken.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.pulses.iter().map(|(pulse, _)| pulse.as_of()).min().flatten()
    }

    /// Whether none of the watches has broken since.
    pub(super) fn is_unbroken(&self) -> bool {
        self.pulses.iter().all(|(pulse, listing)| pulse.listing() == *listing)
    }
}
