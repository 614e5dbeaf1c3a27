//! Whether an index that was made from a watch may still be trusted.

use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::Pulse;

/// The watches that an index was made from. The index is current for as long as each of them is live.
#[derive(Debug)]
pub struct WatchLife {
    /// The watch of each part of the scope that can be seen, with the number of the LIST that the index was made from.
    pub(super) pulses: Vec<(Arc<Pulse>, u64)>,
}

impl WatchLife {
    /// Whether each watch still goes on from that LIST, and has shown a sign of life recently enough.
    pub fn is_live(&self) -> bool {
        !self.pulses.is_empty() && self.pulses.iter().all(|(pulse, listing)| pulse.is_live(*listing))
    }

    /// Up to this time, by the API server's clock, the watches have reported every change, if none is broken.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.pulses.iter().map(|(pulse, _)| pulse.as_of()).min().flatten()
    }

    /// Whether no watch has broken since that LIST.
    pub(super) fn is_unbroken(&self) -> bool {
        !self.pulses.is_empty() && self.pulses.iter().all(|(pulse, listing)| pulse.listing() == *listing)
    }
}
