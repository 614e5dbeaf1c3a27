//! The connections of one listener: how many there may be, what each is at, for how long it may be at that, and which
//! of them goes when there are too many.
//!
//! When there are too many, the one goes that has waited longest for its next request, for the rest of its headers or
//! body, or for its answer to be read; first among those on which no request was ever admitted. A newcomer with a
//! genuine push needs milliseconds where they need seconds, so a flood of connections that are held open pushes itself
//! out, and a caller that keeps connections for later (a load balancer) keeps its own to the last. One whose request is
//! being worked on is never closed: only where all are like that a newcomer is refused. To refuse newcomers in any case
//! would give the listener to whoever was there first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use super::listener::Listener;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{ListenerLabel, RefusedLabels};

/// Longest time from the first byte of a request to the last of its headers. Those of Pub/Sub come in one packet.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Longest time between two requests of a connection. A load balancer must be the one who closes first, or it sends a
/// request into a connection that is being closed: Google's keep theirs for 600 s, which cannot be changed, and ask for
/// 620 s (Cloud Load Balancing, "Timeouts and retries", HTTP keepalive timeout).
const IDLE_LIMIT: Duration = Duration::from_secs(620);
/// Longest time in which nothing of an answer can be sent, because nobody reads it.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Connections whose headers may be larger than [`super::connection::SMALL_HEADERS`] at once.
const LARGE_HEADERS: usize = 32;

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing of the next request has come.
    Idle,
    /// Its headers are coming.
    Headers,
    /// They have come; its body has not, or it is not known yet whether it may come in.
    Asked,
    /// It is being worked on.
    Admitted,
    /// The answer is not read.
    Unread,
}

/// Why a connection was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutOff {
    /// Others wanted its place.
    Displaced,
    /// It was idle for too long, which is nobody's fault.
    Idle,
    /// Its headers did not come in time.
    HeaderTime,
    /// Its answer was not read in time.
    WriteTime,
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    listener: Listener,
    max: usize,
    table: Mutex<Table>,
    pub(super) large_headers: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// Those that may be closed for others, in the order in which they would be: whether a request was ever admitted on
    /// it, since when it has been at what it is at (as a number that rises), which.
    closable: BTreeSet<(bool, u64, u64)>,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    since: Instant,
    order: u64,
    is_proven: bool,
    waker: Option<Waker>,
}

/// One of them. It is forgotten when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    number: u64,
    /// As in the table; for a look without its lock.
    phase: AtomicU8,
}

impl Phase {
    fn is_closable(self) -> bool {
        self != Self::Admitted
    }

    /// For how long a connection may be at it, and what it has done wrong then. A request has limits of its own.
    fn limit(self) -> Option<(Duration, CutOff)> {
        match self {
            Self::Idle => Some((IDLE_LIMIT, CutOff::Idle)),
            Self::Headers => Some((HEADER_LIMIT, CutOff::HeaderTime)),
            Self::Unread => Some((WRITE_LIMIT, CutOff::WriteTime)),
            Self::Asked | Self::Admitted => None,
        }
    }
}

impl CutOff {
    /// As in the metrics; nothing where nobody was refused anything.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Displaced => Some("displaced"),
            Self::HeaderTime => Some("header_time"),
            Self::WriteTime => Some("write_time"),
            Self::Idle => None,
        }
    }
}

impl Connections {
    pub(super) fn new(listener: Listener, max: usize, metrics: Arc<Metrics>) -> Self {
        let large_headers = Arc::new(Semaphore::new(LARGE_HEADERS));
        Self { listener, max: max.max(1), table: Mutex::default(), large_headers, metrics }
    }

    /// A place for a new one, where need be that of another; `None`: all of them are being worked on.
    pub(super) fn open(self: &Arc<Self>) -> Option<Connection> {
        if self.lock().entries.len() >= self.max && !self.displace() {
            self.refused("connections");
            return None;
        }
        let mut table = self.lock();
        let number = table.next_number();
        let entry = Entry { phase: Phase::Idle, since: Instant::now(), order: number, is_proven: false, waker: None };
        table.closable.insert((entry.is_proven, entry.order, number));
        table.entries.insert(number, entry);
        drop(table);
        self.gauge(1);
        Some(Connection { connections: Arc::clone(self), number, phase: AtomicU8::new(Phase::Idle as u8) })
    }

    /// Closes the one that can be spared first.
    pub(super) fn displace(&self) -> bool {
        let mut table = self.lock();
        let Some((_, _, number)) = table.closable.pop_first() else { return false };
        let displaced = table.entries.remove(&number);
        drop(table);
        self.gauge(-1);
        // It finds itself gone.
        if let Some(waker) = displaced.and_then(|entry| entry.waker) {
            waker.wake();
        }
        true
    }

    /// Counts what was refused, by the limit.
    pub(super) fn refused(&self, reason: &'static str) {
        let labels = RefusedLabels { listener: self.listener.as_str(), reason };
        self.metrics.refused.get_or_create(&labels).inc();
    }

    fn gauge(&self, change: i64) {
        self.metrics.connections.get_or_create(&ListenerLabel { listener: self.listener.as_str() }).inc_by(change);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

impl Table {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Connection {
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) fn is_at(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// It is at something else now. False: it has been closed for others.
    pub(super) fn is_now_at(&self, phase: Phase) -> bool {
        let mut table = self.connections.lock();
        let order = table.next_number();
        let Table { entries, closable, .. } = &mut *table;
        let Some(entry) = entries.get_mut(&self.number) else { return false };
        closable.remove(&(entry.is_proven, entry.order, self.number));
        entry.is_proven |= phase == Phase::Admitted;
        (entry.phase, entry.since, entry.order) = (phase, Instant::now(), order);
        if phase.is_closable() {
            closable.insert((entry.is_proven, order, self.number));
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
        true
    }

    /// Until when it may be at what it is at; `waker` is woken when it has to go before.
    ///
    /// # Errors
    /// It has to go now.
    pub(super) fn deadline(&self, waker: &Waker) -> Result<Option<Instant>, CutOff> {
        let mut table = self.connections.lock();
        let Some(entry) = table.entries.get_mut(&self.number) else { return Err(CutOff::Displaced) };
        match &mut entry.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        match entry.phase.limit() {
            Some((limit, cut_off)) if entry.since.elapsed() >= limit => Err(cut_off),
            limit => Ok(limit.map(|(limit, _)| entry.since + limit)),
        }
    }

    /// Counts that it was cut off.
    pub(super) fn was_cut_off(&self, cut_off: CutOff) {
        if let Some(reason) = cut_off.reason() {
            self.connections.refused(reason);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        let Some(entry) = table.entries.remove(&self.number) else { return };
        table.closable.remove(&(entry.is_proven, entry.order, self.number));
        drop(table);
        self.connections.gauge(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize) -> Arc<Connections> {
        Arc::new(Connections::new(Listener::Public, max, Arc::new(Metrics::new())))
    }

    fn is_open(connection: &Connection) -> bool {
        connection.deadline(Waker::noop()).is_ok()
    }

    #[test]
    fn the_longest_idle_goes_first_and_those_that_were_let_in_last() {
        let connections = connections(4);
        let open = || connections.open().unwrap();
        let proven = open();
        assert!(proven.is_now_at(Phase::Admitted) && proven.is_now_at(Phase::Idle));
        let [slow, idle, working] = [open(), open(), open()];
        assert!(slow.is_now_at(Phase::Headers) && working.is_now_at(Phase::Admitted));
        // `slow` has moved since `idle` came.
        let newer = [open(), open()];
        assert_eq!([&proven, &slow, &idle, &working].map(is_open), [true, false, false, true]);
        assert_eq!(newer.each_ref().map(is_open), [true, true]);
        let third = open();
        assert_eq!((is_open(&newer[0]), is_open(&newer[1]), is_open(&proven)), (false, true, true));
        for admitted in [&newer[1], &third] {
            assert!(admitted.is_now_at(Phase::Admitted));
        }
        assert!(!newer[0].is_now_at(Phase::Admitted), "it is gone");
        let last = open();
        assert!(!is_open(&proven) && last.is_now_at(Phase::Admitted));
        assert!(connections.open().is_none(), "all are being worked on");
        drop(third);
        assert!(connections.open().is_some());
    }

    #[test]
    fn each_phase_has_its_limit() {
        let connections = connections(1);
        let connection = connections.open().unwrap();
        for (phase, limit) in [
            (Phase::Headers, Some(HEADER_LIMIT)),
            (Phase::Asked, None),
            (Phase::Admitted, None),
            (Phase::Unread, Some(WRITE_LIMIT)),
            (Phase::Idle, Some(IDLE_LIMIT)),
        ] {
            assert!(connection.is_now_at(phase) && connection.is_at(phase));
            let deadline = connection.deadline(Waker::noop()).unwrap();
            let left = deadline.map(|deadline| deadline.duration_since(Instant::now()));
            assert_eq!(left.is_some(), limit.is_some(), "{phase:?}");
            assert!(
                left <= limit && left.is_none_or(|left| left + Duration::from_secs(5) > limit.unwrap()),
                "{phase:?}"
            );
        }
    }
}
