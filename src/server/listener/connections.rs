//! The table of one listener's connections: how many there may be, the phase of each, and which one is closed when there
//! are too many.
//!
//! When there are too many, the connection is closed that has waited longest: for its next request, for the rest of its
//! headers or body, or for its answer to be read. Those on which no request was ever admitted come first. A new
//! connection with a genuine push needs milliseconds where these need seconds. So a flood of connections that are held
//! open displaces itself, and a caller that keeps connections for later (a load balancer) loses them last. A connection
//! whose request is being worked on is never closed; only where all are like that a new one is refused. To refuse new
//! ones in any case would leave the listener to the connections that came first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::listeners::Listener;
use super::phase::ConnectionPhase;
use crate::server::metrics::{RefusedReason, ServerMetrics};
use crate::telemetry::GaugeGuard;

/// Connections that may have large headers at once.
const LARGE_HEADERS: usize = 32;

/// The connections of one listener.
#[derive(Debug)]
pub(in crate::server) struct Connections {
    listener: Listener,
    max: usize,
    table: Mutex<Table>,
    pub(super) large_headers: Arc<Semaphore>,
    metrics: ServerMetrics,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// The connections that may be closed to make room, in the order in which they would be: whether a request was ever
    /// admitted on it, a number that rises with each change of phase, the connection's number.
    closable: BTreeSet<(bool, u64, u64)>,
}

#[derive(Debug)]
struct Entry {
    phase: ConnectionPhase,
    since: Instant,
    order: u64,
    /// Whether a request was ever admitted on it.
    is_proven: bool,
    waker: Option<Waker>,
    _counted: GaugeGuard,
}

/// A connection in the table. It leaves the table when this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Connection {
    connections: Arc<Connections>,
    number: u64,
    /// As in the table, to be read without its lock.
    phase: AtomicU8,
}

impl Connections {
    pub(super) fn new(listener: Listener, max: usize, metrics: ServerMetrics) -> Self {
        let large_headers = Arc::new(Semaphore::new(LARGE_HEADERS));
        Self { listener, max: max.max(1), table: Mutex::default(), large_headers, metrics }
    }

    /// Enters a new connection, in place of another where the table is full. `None`: all are being worked on.
    pub(super) fn open(self: &Arc<Self>) -> Option<Connection> {
        if self.table.lock().entries.len() >= self.max && !self.displace() {
            self.count_refused(RefusedReason::Connections);
            return None;
        }
        let counted = GaugeGuard::new(&self.metrics.connections(self.listener));
        let mut table = self.table.lock();
        let number = table.next_number();
        let entry = Entry {
            phase: ConnectionPhase::Idle,
            since: Instant::now(),
            order: number,
            is_proven: false,
            waker: None,
            _counted: counted,
        };
        table.closable.insert((entry.is_proven, entry.order, number));
        table.entries.insert(number, entry);
        drop(table);
        Some(Connection { connections: Arc::clone(self), number, phase: AtomicU8::new(ConnectionPhase::Idle as u8) })
    }

    /// Closes the first connection of those that may be closed. False: there is none.
    pub(super) fn displace(&self) -> bool {
        let mut table = self.table.lock();
        let Some((_, _, number)) = table.closable.pop_first() else { return false };
        let displaced = table.entries.remove(&number);
        drop(table);
        // Its task finds that it has left the table.
        if let Some(waker) = displaced.and_then(|entry| entry.waker) {
            waker.wake();
        }
        true
    }

    /// Counts a connection or a request that was refused.
    pub(in crate::server) fn count_refused(&self, reason: RefusedReason) {
        self.metrics.count_refused(self.listener, reason);
    }
}

impl Table {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Connection {
    pub(in crate::server) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) fn is_at(&self, phase: ConnectionPhase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Moves it to another phase. False: it has been closed to make room.
    pub(in crate::server) fn enter(&self, phase: ConnectionPhase) -> bool {
        let mut table = self.connections.table.lock();
        let order = table.next_number();
        let Table { entries, closable, .. } = &mut *table;
        let Some(entry) = entries.get_mut(&self.number) else { return false };
        closable.remove(&(entry.is_proven, entry.order, self.number));
        entry.is_proven |= phase == ConnectionPhase::Admitted;
        (entry.phase, entry.since, entry.order) = (phase, Instant::now(), order);
        if phase.is_closable() {
            closable.insert((entry.is_proven, order, self.number));
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
        true
    }

    /// Until when it may stay in its phase; `waker` is woken when it is closed before.
    ///
    /// # Errors
    /// It must be closed now, which is counted as this.
    pub(super) fn deadline(&self, waker: &Waker) -> Result<Option<Instant>, Option<RefusedReason>> {
        let mut table = self.connections.table.lock();
        let Some(entry) = table.entries.get_mut(&self.number) else {
            return Err(Some(RefusedReason::Displaced));
        };
        match &mut entry.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        match entry.phase.limit() {
            Some((limit, reason)) if entry.since.elapsed() >= limit => Err(reason),
            limit => Ok(limit.map(|(limit, _)| entry.since + limit)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        let Some(entry) = table.entries.remove(&self.number) else { return };
        table.closable.remove(&(entry.is_proven, entry.order, self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::phase::{HEADER_LIMIT, IDLE_LIMIT, WRITE_LIMIT};
    use super::*;

    fn connections(max: usize) -> Arc<Connections> {
        Arc::new(Connections::new(Listener::Public, max, ServerMetrics::default()))
    }

    fn is_open(connection: &Connection) -> bool {
        connection.deadline(Waker::noop()).is_ok()
    }

    #[test]
    fn the_longest_idle_goes_first_and_those_that_were_let_in_last() {
        let connections = connections(4);
        let open = || connections.open().unwrap();
        let proven = open();
        assert!(proven.enter(ConnectionPhase::Admitted) && proven.enter(ConnectionPhase::Idle));
        let [slow, idle, working] = [open(), open(), open()];
        assert!(slow.enter(ConnectionPhase::Headers) && working.enter(ConnectionPhase::Admitted));
        // `slow` has moved since `idle` came.
        let newer = [open(), open()];
        assert_eq!([&proven, &slow, &idle, &working].map(is_open), [true, false, false, true]);
        assert_eq!(newer.each_ref().map(is_open), [true, true]);
        let third = open();
        assert_eq!((is_open(&newer[0]), is_open(&newer[1]), is_open(&proven)), (false, true, true));
        for admitted in [&newer[1], &third] {
            assert!(admitted.enter(ConnectionPhase::Admitted));
        }
        assert!(!newer[0].enter(ConnectionPhase::Admitted), "it is gone");
        let last = open();
        assert!(!is_open(&proven) && last.enter(ConnectionPhase::Admitted));
        assert!(connections.open().is_none(), "all are being worked on");
        drop(third);
        assert!(connections.open().is_some());
    }

    #[test]
    fn each_phase_has_its_limit() {
        let connections = connections(1);
        let connection = connections.open().unwrap();
        for (phase, limit) in [
            (ConnectionPhase::Headers, Some(HEADER_LIMIT)),
            (ConnectionPhase::Requested, None),
            (ConnectionPhase::Admitted, None),
            (ConnectionPhase::Unread, Some(WRITE_LIMIT)),
            (ConnectionPhase::Idle, Some(IDLE_LIMIT)),
        ] {
            assert!(connection.enter(phase) && connection.is_at(phase));
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
