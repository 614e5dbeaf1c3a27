//! Pub/Sub's clock, as far as deliveries show it.
//!
//! A delivery that came soon after its publish time by our clock shows that ours is not ahead of Pub/Sub's by more
//! than that. Deliveries that come late show nothing: they may be redeliveries. (That our clock is behind does no harm: a
//! publish time then lies in its future, and nothing that it compares is later than that.)

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// For how long after a prompt delivery our clock is trusted.
const TRUSTED_FOR: SignedDuration = SignedDuration::from_hours(1);
const NEVER: i64 = i64::MIN;

/// When a delivery was last prompt.
#[derive(Debug)]
pub struct PublisherClock {
    /// By our clock, in Unix milliseconds.
    prompt_at_ms: AtomicI64,
}

impl PublisherClock {
    /// Nothing is known yet.
    pub fn unknown() -> Self {
        Self { prompt_at_ms: AtomicI64::new(NEVER) }
    }

    /// Learns from a message that was received, by our clock, at `received`.
    pub fn observe(&self, published: Timestamp, received: Timestamp, margin: Duration) {
        let lag = received.duration_since(published);
        if Duration::try_from(lag).is_ok_and(|lag| lag <= margin) {
            self.prompt_at_ms.store(received.as_millisecond(), Ordering::Relaxed);
        }
    }

    /// Whether our clock is known not to be ahead of Pub/Sub's by more than the margin of [`Self::observe`].
    pub fn agrees(&self, now: Timestamp) -> bool {
        let prompt_at_ms = self.prompt_at_ms.load(Ordering::Relaxed);
        prompt_at_ms != NEVER
            && Timestamp::from_millisecond(prompt_at_ms)
                .is_ok_and(|prompt_at| now.duration_since(prompt_at).abs() <= TRUSTED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_prompt_delivery_shows_that_clocks_agree() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let margin = Duration::from_secs(10);
        let clock = PublisherClock::unknown();
        assert!(!clock.agrees(at(0)));
        clock.observe(at(0), at(11), margin);
        assert!(!clock.agrees(at(11)), "late");
        clock.observe(at(12), at(11), margin);
        assert!(!clock.agrees(at(11)), "from the future");
        clock.observe(at(0), at(10), margin);
        assert!(clock.agrees(at(10)) && clock.agrees(at(3610)) && !clock.agrees(at(3611)));
    }
}
