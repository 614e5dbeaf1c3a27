//! What all requests share: the objects, the calls so far, the faults that are set, and the server's clock.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::faults::{Denial, Outage};
use super::request::ApiCall;
use super::status::Status;
use super::store::Store;

/// One API server.
#[derive(Debug)]
pub(super) struct ServerState {
    store: Mutex<Store>,
    /// Each with its user.
    pub(super) calls: Mutex<Vec<(String, ApiCall)>>,
    pub(super) denials: Mutex<Vec<Denial>>,
    pub(super) outage: watch::Sender<Option<Outage>>,
    clock_offset_ms: AtomicI64,
    /// In Unix milliseconds.
    clock_held_at_ms: AtomicI64,
}

/// The clock is not held.
const NOT_HELD: i64 = i64::MIN;

// === impl ServerState ===

impl ServerState {
    /// Without any object.
    pub(super) fn new() -> Self {
        Self {
            store: Mutex::new(Store::new()),
            calls: Mutex::default(),
            denials: Mutex::default(),
            outage: watch::Sender::new(None),
            clock_offset_ms: AtomicI64::new(0),
            clock_held_at_ms: AtomicI64::new(NOT_HELD),
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock()
    }

    pub(super) fn set_clock_offset(&self, offset: SignedDuration) {
        let offset_ms = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    pub(super) fn hold_clock_at(&self, time: Timestamp) {
        self.clock_held_at_ms.store(time.as_millisecond(), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let held_at_ms = self.clock_held_at_ms.load(Ordering::Relaxed);
        if held_at_ms != NOT_HELD {
            return Timestamp::from_millisecond(held_at_ms).unwrap_or(now);
        }
        let offset = SignedDuration::from_millis(self.clock_offset_ms.load(Ordering::Relaxed));
        now.checked_add(offset).unwrap_or(now)
    }

    /// The message of the first policy against writing this workload.
    pub(super) fn denial_of(&self, namespace: &str, name: &str) -> Option<String> {
        let denials = self.denials.lock();
        denials.iter().find(|denial| denial.is_of(namespace, name)).map(|denial| denial.message.clone())
    }

    /// Waits while requests hang; what is left of the outage then.
    pub(super) async fn wait_out_outage(&self) -> Option<Status> {
        let mut outage = self.outage.subscribe();
        let lifted = outage.wait_for(|outage| *outage != Some(Outage::Hang)).await;
        match lifted.as_deref() {
            Ok(Some(Outage::Status(code))) => Some(Status::outage(*code)),
            _ => None,
        }
    }
}
