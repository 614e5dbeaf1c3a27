//! The API server's clock, read from the `Date` header of its answers, and how far ours is from it.
//!
//! `Date` has a resolution of a second and was written somewhere between our sending and our receiving,
//! so the distance is known as a range; [`ServerClock::agrees_within`] asks about the worst of it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

const UNKNOWN: i64 = i64::MAX;

/// What the last answer told of the API server's clock.
#[derive(Debug)]
pub struct ServerClock {
    /// The last `Date`, in Unix seconds.
    seconds: AtomicI64,
    /// The largest distance between the two clocks that the last answer leaves possible, in milliseconds.
    distance_ms: AtomicI64,
}

impl ServerClock {
    /// Nothing is known yet.
    pub fn unknown() -> Self {
        Self { seconds: AtomicI64::new(UNKNOWN), distance_ms: AtomicI64::new(UNKNOWN) }
    }

    /// Learns from an answer whose request left at `sent` and which came at `received`, by our clock.
    pub fn observe(&self, date: &str, sent: Timestamp, received: Timestamp) {
        let Ok(date) = jiff::fmt::rfc2822::parse(date).map(|zoned| zoned.timestamp()) else { return };
        let earliest_ms = date.as_millisecond() - received.as_millisecond();
        let latest_ms = date.as_millisecond() + 1000 - sent.as_millisecond();
        self.distance_ms.store(earliest_ms.abs().max(latest_ms.abs()), Ordering::Relaxed);
        self.seconds.store(date.as_second(), Ordering::Relaxed);
    }

    /// A time by the API server's clock that has passed already: what begins now begins after it.
    pub fn passed(&self) -> Option<Timestamp> {
        match self.seconds.load(Ordering::Relaxed) {
            UNKNOWN => None,
            seconds => Timestamp::from_second(seconds).ok(),
        }
    }

    /// Whether the two clocks are known to be at most `margin` apart.
    pub fn agrees_within(&self, margin: Duration) -> bool {
        let distance = self.distance_ms.load(Ordering::Relaxed);
        distance != UNKNOWN && u128::from(distance.unsigned_abs()) <= margin.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_possible_distance_counts() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let date = jiff::fmt::rfc2822::to_string(&at(0).to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let clock = ServerClock::unknown();
        assert!(clock.passed().is_none() && !clock.agrees_within(Duration::MAX / 2));
        clock.observe(&date, at(0), at(1));
        assert_eq!(clock.passed(), Some(at(0)));
        assert!(clock.agrees_within(Duration::from_secs(1)));
        clock.observe(&date, at(-9), at(0));
        assert!(clock.agrees_within(Duration::from_secs(10)) && !clock.agrees_within(Duration::from_secs(9)));
        clock.observe(&date, at(300), at(300));
        assert!(!clock.agrees_within(Duration::from_secs(10)));
    }
}
