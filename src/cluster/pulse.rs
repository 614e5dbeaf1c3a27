//! The pulse of a watch: whether it is alive, up to which time its events are complete, and whether they are in the
//! index.
//!
//! A watch without events looks just like one that hangs. Signs of life are the bytes of an answer (an event, a
//! bookmark) and its clean end: requests last a few seconds and are opened again. An opened request is no sign of life,
//! because its answer may begin and never continue. A LIST is none either, because it is as old as its first page.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The pulse of the watch of one kind, in one namespace or in all.
#[derive(Debug)]
pub struct Pulse {
    patience: Duration,
    beat: Mutex<Beat>,
    caught_up: Notify,
}

#[derive(Debug, Default)]
struct Beat {
    /// Counts the LISTs that the watch has started with, and its failures.
    listing: u64,
    /// Whether the first page of the LIST has come.
    is_listing: bool,
    /// Whether a request has ended since the LIST: then we know what happened while the LIST was read.
    is_caught_up: bool,
    /// Whether the index in memory was made after that.
    is_indexed: bool,
    last_sign: Option<Sign>,
    /// When the first request since the LIST was answered.
    first_opened: Option<Sign>,
    /// When the request that is open now was answered, by the API server's clock.
    opened: Option<Timestamp>,
    as_of: Option<Timestamp>,
}

/// The time of a sign of life, by two clocks: the monotonic clock stops while the machine sleeps, and the wall clock
/// may be set.
#[derive(Debug, Clone, Copy)]
struct Sign {
    instant: Instant,
    time: SystemTime,
}

impl Sign {
    fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// How long ago it was, by the clock that shows more.
    fn age(&self) -> Duration {
        self.instant.elapsed().max(self.time.elapsed().unwrap_or_default())
    }
}

impl Pulse {
    /// Of a watch that has not started, and is trusted for `patience` after a sign of life.
    pub fn new(patience: Duration) -> Self {
        Self { patience, beat: Mutex::default(), caught_up: Notify::new() }
    }

    /// The watch starts with a new LIST.
    pub(super) fn begin(&self) {
        let mut beat = self.beat.lock();
        let listing = beat.listing + 1;
        *beat = Beat { listing, ..Beat::default() };
    }

    /// A page of the LIST was requested at this time by the API server's clock. That of the first page counts.
    pub(super) fn listing_since(&self, at: Option<Timestamp>) {
        let mut beat = self.beat.lock();
        if !std::mem::replace(&mut beat.is_listing, true) {
            beat.as_of = at;
        }
    }

    /// A watch request was answered, at this time by the API server's clock.
    pub(super) fn opened(&self, at: Option<Timestamp>) {
        let mut beat = self.beat.lock();
        beat.opened = at;
        beat.first_opened.get_or_insert_with(Sign::now);
    }

    /// Whether no request has ended since the LIST.
    pub(super) fn is_catching_up(&self) -> bool {
        !self.beat.lock().is_caught_up
    }

    /// Bytes came.
    pub(super) fn sign(&self) {
        let mut beat = self.beat.lock();
        if !self.is_lost(&beat) {
            beat.last_sign = Some(Sign::now());
        }
    }

    /// The request has ended: it has delivered everything that had happened when it was answered.
    pub(super) fn ended(&self) {
        let mut beat = self.beat.lock();
        if self.is_lost(&beat) {
            return;
        }
        beat.last_sign = Some(Sign::now());
        beat.as_of = beat.opened.take();
        if !std::mem::replace(&mut beat.is_caught_up, true) {
            self.caught_up.notify_one();
        }
    }

    /// Whether the watch was silent for too long. Bytes that come later do not make it trusted again, because what was
    /// missed in between is not known; it must be started again.
    fn is_lost(&self, beat: &Beat) -> bool {
        beat.last_sign.is_some_and(|sign| sign.age() >= self.patience)
    }

    /// The number of the current LIST.
    pub fn listing(&self) -> u64 {
        self.beat.lock().listing
    }

    /// Waits until the first request since the LIST has ended.
    pub async fn caught_up(&self) {
        self.caught_up.notified().await;
    }

    /// Whether an index that is made from now on has the objects of this LIST and what changed while it was read.
    pub fn is_caught_up(&self, listing: u64) -> bool {
        let beat = self.beat.lock();
        beat.listing == listing && beat.is_caught_up
    }

    /// Such an index was made and is about to become the one in memory.
    pub fn indexed(&self, listing: u64) {
        let mut beat = self.beat.lock();
        beat.is_indexed |= beat.listing == listing;
    }

    /// The watch has failed. It proves nothing until the next LIST is in the index.
    pub fn broken(&self) {
        let mut beat = self.beat.lock();
        let listing = beat.listing + 1;
        *beat = Beat { listing, ..Beat::default() };
    }

    /// Whether the watch that started with this LIST is trusted to have delivered all that is older than its patience.
    pub fn is_live(&self, listing: u64) -> bool {
        let beat = self.beat.lock();
        beat.listing == listing && beat.is_indexed && beat.last_sign.is_some() && !self.is_lost(&beat)
    }

    /// The time since the last sign of life, or since the first request was opened; `None` during the LIST.
    pub fn silence(&self) -> Option<Duration> {
        let beat = self.beat.lock();
        beat.last_sign.or(beat.first_opened).map(|sign| sign.age())
    }

    /// A time by the API server's clock: the watch has delivered everything older.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.beat.lock().as_of
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
    fn a_watch_is_live_once_what_came_with_the_list_is_in_the_index() {
        let pulse = Pulse::new(PATIENCE);
        pulse.begin();
        let listing = pulse.listing();
        pulse.listing_since(Some(at(0)));
        pulse.opened(Some(at(5)));
        pulse.sign();
        assert!(!pulse.is_caught_up(listing), "what came during the LIST may still be on its way");
        pulse.ended();
        assert!(pulse.is_caught_up(listing) && !pulse.is_live(listing), "not in the index yet");
        pulse.indexed(listing);
        assert!(pulse.is_live(listing));
        assert!(!pulse.is_live(listing + 1), "an index of another LIST");
        pulse.broken();
        assert!(!pulse.is_live(listing) && !pulse.is_live(pulse.listing()));
        pulse.indexed(listing);
        assert!(!pulse.is_live(pulse.listing()), "an index of the LIST before says nothing of this one");
    }

    #[test]
    fn an_answer_that_begins_and_never_goes_on_is_no_sign_of_life() {
        let pulse = Pulse::new(Duration::ZERO);
        pulse.begin();
        let listing = pulse.listing();
        pulse.opened(None);
        pulse.ended();
        pulse.indexed(listing);
        // Its patience is over at once: whatever comes now is too late.
        for late in [Pulse::sign, Pulse::ended] {
            pulse.opened(None);
            late(&pulse);
            assert!(!pulse.is_live(listing));
        }
        let quiet = Pulse::new(PATIENCE);
        quiet.begin();
        assert_eq!(quiet.silence(), None);
        quiet.opened(None);
        assert!(quiet.silence().is_some() && !quiet.is_caught_up(quiet.listing()), "it may turn out to hang");
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
    fn what_a_request_has_told_is_certain_when_it_has_ended() {
        let pulse = Pulse::new(PATIENCE);
        pulse.begin();
        pulse.listing_since(Some(at(0)));
        pulse.listing_since(Some(at(1)));
        pulse.opened(Some(at(2)));
        assert_eq!(pulse.as_of(), Some(at(0)));
        pulse.ended();
        assert_eq!(pulse.as_of(), Some(at(2)));
        pulse.opened(Some(at(9)));
        // That request came to no end, and the next is open.
        pulse.opened(Some(at(17)));
        assert_eq!(pulse.as_of(), Some(at(2)));
        // The API server's clock was not to be trusted that time.
        pulse.opened(None);
        pulse.ended();
        assert_eq!(pulse.as_of(), None);
    }
}
