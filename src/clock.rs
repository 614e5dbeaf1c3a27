//! The wall clock, as an argument: tests run the service five minutes ahead of its API server.
//!
//! It must not be used to measure how long something took: that is [`std::time::Instant`]'s.

use jiff::{SignedDuration, Timestamp};

/// A wall clock: the system's, or one that is off by a fixed time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    offset: SignedDuration,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// The system's clock, ahead by `offset` (behind where negative).
    pub fn ahead_by(offset: SignedDuration) -> Self {
        Self { offset }
    }

    /// What time it is.
    pub fn now(self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.offset).unwrap_or(now)
    }
}
