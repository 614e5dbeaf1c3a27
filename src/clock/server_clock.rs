//! The API server's clock, read from the `Date` header of its answers, and how far ours is from it.
//!
//! `Date` has a resolution of a second and was written at some time between our request and the answer, so the distance
//! of the clocks is known as a range; the worst of it counts.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// The API server's clock, as the last answer showed it.
#[derive(Debug, Default)]
pub struct ServerClock(Mutex<Option<Observed>>);

#[derive(Debug, Clone, Copy)]
struct Observed {
    date: Timestamp,
    /// When it came, by our clock.
    received: Timestamp,
    /// The largest distance between the two clocks that the answer leaves possible.
    distance: SignedDuration,
}

impl ServerClock {
    /// Nothing is known yet.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Learns from an answer whose request left at `sent` and which came at `received`, by our clock.
    pub fn observe(&self, date: &str, sent: Timestamp, received: Timestamp) {
        let Some(date) = parse_date(date) else { return };
        let earliest = date.duration_since(received).abs();
        let latest = (date.duration_since(sent) + SignedDuration::from_secs(1)).abs();
        *self.0.lock() = Some(Observed { date, received, distance: earliest.max(latest) });
    }

    /// A time by the API server's clock that has passed already, so that what begins now begins after it; `None` where the
    /// last answer did not agree with our clock.
    pub fn passed(&self, margin: Duration) -> Option<Timestamp> {
        self.agreeing(margin).map(|observed| observed.date)
    }

    /// What it shows at `time` of ours, or a little less, by its distance from ours at the last answer, however large.
    pub fn at(&self, time: Timestamp) -> Timestamp {
        let since = |observed: &Observed| observed.date.checked_add(time.duration_since(observed.received)).ok();
        self.0.lock().as_ref().and_then(since).unwrap_or(time)
    }

    /// Whether the two clocks are known to be at most `margin` apart.
    pub fn agrees_within(&self, margin: Duration) -> bool {
        self.agreeing(margin).is_some()
    }

    fn agreeing(&self, margin: Duration) -> Option<Observed> {
        self.0.lock().filter(|observed| Duration::try_from(observed.distance).is_ok_and(|distance| distance <= margin))
    }
}

/// The time of a `Date` header. The answer was begun within the second after it.
pub fn parse_date(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(date).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_possible_distance_counts() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let date = jiff::fmt::rfc2822::to_string(&at(0).to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let seconds = Duration::from_secs;
        let clock = ServerClock::unknown();
        assert!(clock.passed(Duration::MAX).is_none() && !clock.agrees_within(Duration::MAX));
        clock.observe(&date, at(0), at(1));
        assert_eq!(clock.passed(seconds(1)), Some(at(0)));
        assert!(clock.agrees_within(seconds(1)));
        clock.observe(&date, at(-9), at(0));
        assert!(clock.agrees_within(seconds(10)) && !clock.agrees_within(seconds(9)));
        clock.observe(&date, at(300), at(300));
        assert_eq!(clock.at(at(310)), at(10));
        assert!(!clock.agrees_within(seconds(10)) && clock.passed(seconds(10)).is_none());
    }
}
