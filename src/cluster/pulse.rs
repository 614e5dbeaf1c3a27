//! The pulse of a watch: when the API server last showed that it is still telling us, and what that proves.
//!
//! A watch without events looks just like one that hangs. Signs of life are the answer to a watch request (they
//! last a few seconds and are opened again), an event, a bookmark: whatever bytes come.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

/// The pulse of the watch of one kind, in one namespace or in all.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Beat>);

#[derive(Debug, Default)]
struct Beat {
    /// Counts the LISTs with which the watch was begun.
    listing: u64,
    /// Whether its first page has come.
    is_listing: bool,
    /// Whether everything that the LIST gave, and what came since, stands in the index.
    is_indexed: bool,
    last_sign: Option<Sign>,
    /// When the watch request that is open now was answered, by the API server's clock.
    opened: Option<Timestamp>,
    as_of: Option<Timestamp>,
}

/// A sign of life, by both clocks: a machine that sleeps stops the one, and may find the other set.
#[derive(Debug, Clone, Copy)]
struct Sign {
    instant: Instant,
    time: SystemTime,
}

impl Sign {
    fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// How long it was ago, as whichever clock saw more go by has it.
    fn age(&self) -> Duration {
        self.instant.elapsed().max(self.time.elapsed().unwrap_or_default())
    }
}

impl Pulse {
    /// The watch begins anew with a LIST.
    pub(super) fn begin(&self) {
        let mut beat = self.lock();
        let listing = beat.listing + 1;
        *beat = Beat { listing, ..Beat::default() };
    }

    /// A page of the LIST was asked for at a time by the API server's clock; that of the first counts.
    pub(super) fn listing_since(&self, at: Option<Timestamp>) {
        let mut beat = self.lock();
        if !std::mem::replace(&mut beat.is_listing, true) {
            beat.as_of = at;
        }
    }

    /// A watch request was answered, at this time by the API server's clock: all that had happened when the one
    /// before was answered has been told.
    pub(super) fn opened(&self, at: Option<Timestamp>) {
        let mut beat = self.lock();
        if let Some(before) = beat.opened {
            beat.as_of = Some(before);
        }
        beat.opened = at;
        beat.last_sign = Some(Sign::now());
    }

    /// Bytes came.
    pub(super) fn sign(&self) {
        self.lock().last_sign = Some(Sign::now());
    }

    /// Which LIST this is, for [`Pulse::indexed`].
    pub fn listing(&self) -> u64 {
        self.lock().listing
    }

    /// The LIST is whole, which is a sign of life; says which it is.
    pub fn listed(&self) -> u64 {
        let mut beat = self.lock();
        beat.last_sign = Some(Sign::now());
        beat.listing
    }

    /// What that LIST gave stands in the index.
    pub fn indexed(&self, listing: u64) {
        let mut beat = self.lock();
        beat.is_indexed |= beat.listing == listing;
    }

    /// The watch is broken: until the next LIST is in the index it proves nothing.
    pub fn broken(&self) {
        let mut beat = self.lock();
        beat.listing += 1;
        beat.is_indexed = false;
    }

    /// Whether the watch may be trusted to have told everything, up to some `patience` ago.
    pub fn is_live(&self, patience: Duration) -> bool {
        let beat = self.lock();
        beat.is_indexed && beat.last_sign.is_some_and(|sign| sign.age() < patience)
    }

    /// How long ago the last sign of life of this watch came.
    pub fn silence(&self) -> Option<Duration> {
        self.lock().last_sign.map(|sign| sign.age())
    }

    /// A time by the API server's clock before which nothing has escaped the watch.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.lock().as_of
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        // Nothing that holds the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_watch_is_live_once_its_list_is_in_the_index_and_it_was_answered() {
        let pulse = Pulse::default();
        assert!(!pulse.is_live(PATIENCE));
        pulse.begin();
        let listing = pulse.listed();
        assert!(!pulse.is_live(PATIENCE), "not in the index yet");
        pulse.indexed(listing);
        assert!(pulse.is_live(PATIENCE));
        assert!(!pulse.is_live(Duration::ZERO), "no sign of life within the patience");
        pulse.broken();
        assert!(!pulse.is_live(PATIENCE));
        pulse.begin();
        pulse.listed();
        pulse.indexed(listing);
        assert!(!pulse.is_live(PATIENCE), "an index of the LIST before says nothing of this one");
    }

    #[test]
    fn a_machine_that_slept_has_missed_what_was_told() {
        let now = Sign::now();
        let asleep = Sign { time: now.time - Duration::from_secs(60), ..now };
        assert!(asleep.age() >= Duration::from_secs(60));
        let set_back = Sign { time: now.time + Duration::from_secs(60), ..now };
        assert!(set_back.age() < Duration::from_secs(60));
    }

    #[test]
    fn what_a_watch_has_told_is_certain_when_the_next_is_open() {
        let pulse = Pulse::default();
        pulse.begin();
        pulse.listing_since(Some(at(0)));
        pulse.listing_since(Some(at(1)));
        pulse.opened(Some(at(1)));
        assert_eq!(pulse.as_of(), Some(at(0)));
        pulse.opened(Some(at(9)));
        assert_eq!(pulse.as_of(), Some(at(1)));
        // The API server's clock was not to be trusted that time.
        pulse.opened(None);
        pulse.opened(Some(at(25)));
        assert_eq!(pulse.as_of(), Some(at(9)));
    }
}
