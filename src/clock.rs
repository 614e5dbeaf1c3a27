//! Clocks: ours, as an argument (tests run the service five minutes ahead of its API server), and what is known of the
//! API server's and of Pub/Sub's.
//!
//! To measure how long something took, use [`std::time::Instant`].

mod publisher_clock;
mod server_clock;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use publisher_clock::PublisherClock;
pub use server_clock::{ServerClock, parse_date};

/// A wall clock: the system's, one that is off by a fixed time, or one that is moved by hand.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    ahead_by: SignedDuration,
    /// Milliseconds of Unix time that it shows instead.
    held_at: Option<&'static AtomicI64>,
}

/// Our clock and the API server's at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// What our own clock says.
    pub now: Timestamp,
    /// What is known of the API server's.
    pub server: &'a ServerClock,
    /// How far apart clocks may be and still be compared.
    pub margin: Duration,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::ahead_by(SignedDuration::ZERO)
    }

    /// The system's clock, ahead by `offset` (behind where negative).
    pub fn ahead_by(offset: SignedDuration) -> Self {
        Self { ahead_by: offset, held_at: None }
    }

    /// A clock that stands still at these milliseconds of Unix time, until they are changed.
    pub fn held_at(milliseconds: &'static AtomicI64) -> Self {
        Self { ahead_by: SignedDuration::ZERO, held_at: Some(milliseconds) }
    }

    /// What time it is.
    pub fn now(self) -> Timestamp {
        let now = Timestamp::now();
        let shown = match self.held_at {
            None => now.checked_add(self.ahead_by),
            Some(milliseconds) => Timestamp::from_millisecond(milliseconds.load(Ordering::Relaxed)),
        };
        shown.unwrap_or(now)
    }
}

/// A duration as flags and annotations have it: `500ms`, `5s`, `10m`, `1h30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok())
}

impl Clocks<'_> {
    /// What the API server's clock shows now, or a little less; ours, where no answer has shown it yet.
    pub fn server_now(&self) -> Timestamp {
        self.server.at(self.now)
    }

    /// Whether `server_time`, by the API server's clock, is later than `published`, by Pub/Sub's. Never so unless the API
    /// server's clock and ours are known to agree within the margin.
    pub fn show_after(&self, server_time: Timestamp, published: Timestamp) -> bool {
        self.server.agrees_within(self.margin)
            && server_time <= self.now
            && published.checked_add(self.margin).is_ok_and(|published| server_time > published)
    }
}
