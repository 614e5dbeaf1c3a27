//! Turns: pushes of one image that want to restart the same workload at the same time do so one after the other, each
//! for the newest push that waits. So a burst of pushes is two restarts at most.
//!
//! Turns only save restarts. What was done is known from the record on the workload alone.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedMutexGuard;

use super::push::Push;
use crate::telemetry::GaugeGuard;
use crate::workload::WorkloadRef;

/// A workload, and the normalised `REPOSITORY:TAG` of the pushes.
type Key = (WorkloadRef, Box<str>);

/// The queues; one exists only while a push is in it.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Arc<Queue>>>);

/// The pushes of one image for one workload.
#[derive(Debug, Default)]
struct Queue {
    /// Held by the push that works on the workload.
    lock: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    /// The pushes that wait or work.
    pushes: Vec<Arc<Push>>,
    /// The newest push that was settled. Older ones have nothing left to do and need no turn.
    settled: Option<Arc<Push>>,
}

/// A push that may work on the workload.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// The newest push of the queue, if it is newer than the one whose turn it is.
    pub(super) newer: Option<Arc<Push>>,
    /// No other push works meanwhile. A push that is settled already needs no lock.
    _lock: Option<OwnedMutexGuard<()>>,
    queued: QueuedPush<'a>,
}

/// A push in its queue until it is dropped: by its end, its deadline or a panic.
#[derive(Debug)]
struct QueuedPush<'a> {
    turns: &'a Turns,
    key: Key,
    queue: Arc<Queue>,
    push: Arc<Push>,
}

impl Turns {
    /// Waits for the turn of a push, counted in `waiting` meanwhile.
    pub(super) async fn wait(&self, workload: &WorkloadRef, push: &Arc<Push>, waiting: &Gauge) -> Turn<'_> {
        let queued = self.join(workload, push);
        let lock = {
            let _waiting = GaugeGuard::new(waiting);
            Arc::clone(&queued.queue.lock).lock_owned().await
        };
        let is_settled = queued.is_settled();
        let newer = if is_settled { None } else { queued.newer() };
        Turn { newer, _lock: (!is_settled).then_some(lock), queued }
    }

    fn join(&self, workload: &WorkloadRef, push: &Arc<Push>) -> QueuedPush<'_> {
        let key = (workload.clone(), push.image.tag_key().unwrap_or_default().into());
        let mut queues = self.0.lock();
        let queue = Arc::clone(queues.entry(key.clone()).or_default());
        queue.state.lock().pushes.push(Arc::clone(push));
        QueuedPush { turns: self, key, queue, push: Arc::clone(push) }
    }
}

impl Turn<'_> {
    /// Notes that `push` is settled: older pushes of the queue have nothing left to do.
    pub(super) fn settled(&self, push: &Arc<Push>) {
        let mut state = self.queued.queue.state.lock();
        if push.order() > state.settled.as_ref().and_then(|settled| settled.order()) {
            state.settled = Some(Arc::clone(push));
        }
    }
}

impl QueuedPush<'_> {
    /// Whether this push or a newer one is settled.
    fn is_settled(&self) -> bool {
        let own = self.push.order();
        own.is_some() && self.queue.state.lock().settled.as_ref().is_some_and(|settled| settled.order() >= own)
    }

    /// The newest push of the queue, if it is newer than this one. A push without a place in the order restarts for
    /// itself alone.
    fn newer(&self) -> Option<Arc<Push>> {
        let own = self.push.order();
        let state = self.queue.state.lock();
        let newer = state.pushes.iter().filter(|other| own.is_some() && other.order() > own);
        newer.max_by(|a, b| a.order().cmp(&b.order())).cloned()
    }
}

impl Drop for QueuedPush<'_> {
    fn drop(&mut self) {
        let mut queues = self.turns.0.lock();
        let mut state = self.queue.state.lock();
        if let Some(own) = state.pushes.iter().position(|push| Arc::ptr_eq(push, &self.push)) {
            state.pushes.swap_remove(own);
        }
        if state.pushes.is_empty() {
            queues.remove(&self.key);
        }
    }
}
