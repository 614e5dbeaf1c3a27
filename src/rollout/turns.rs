//! Turns: pushes that want to restart the same workload at the same time do so one after the other, and each restart is
//! for all pushes that have come by then. So a burst of pushes that have a publish time, of one image or of several, is two
//! restarts of this process at most.
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

/// The queues; one exists only while a push is in it.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<WorkloadRef, Arc<Queue>>>);

/// The pushes for one workload.
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
    /// The newest push of each image that was settled. Older ones have nothing left to do and need no turn.
    settled: Vec<Arc<Push>>,
}

/// A push that may work on the workload.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// No other push works meanwhile. A push that is settled already needs no lock.
    lock: Option<OwnedMutexGuard<()>>,
    queued: QueuedPush<'a>,
}

/// A push in its queue until it is dropped: by its end, its deadline or a panic.
#[derive(Debug)]
struct QueuedPush<'a> {
    turns: &'a Turns,
    workload: WorkloadRef,
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
        Turn { lock: (!queued.is_settled()).then_some(lock), queued }
    }

    fn join(&self, workload: &WorkloadRef, push: &Arc<Push>) -> QueuedPush<'_> {
        let mut queues = self.0.lock();
        let queue = Arc::clone(queues.entry(workload.clone()).or_default());
        queue.state.lock().pushes.push(Arc::clone(push));
        QueuedPush { turns: self, workload: workload.clone(), queue, push: Arc::clone(push) }
    }
}

impl Turn<'_> {
    /// The other pushes that have come by now and have a place in the order. A push without one restarts for itself
    /// alone.
    pub(super) fn others(&self) -> Vec<Arc<Push>> {
        if self.lock.is_none() {
            return Vec::new();
        }
        let state = self.queued.queue.state.lock();
        let others = state.pushes.iter();
        others.filter(|other| other.order().is_some() && !Arc::ptr_eq(other, &self.queued.push)).cloned().collect()
    }

    /// Notes that these pushes are settled: older pushes of the same image have nothing left to do.
    pub(super) fn settled<'p>(&self, pushes: impl IntoIterator<Item = &'p Arc<Push>>) {
        let mut state = self.queued.queue.state.lock();
        for push in pushes {
            match state.settled.iter_mut().find(|settled| is_of_same_image(settled, push)) {
                None => state.settled.push(Arc::clone(push)),
                Some(settled) if push.order() > settled.order() => *settled = Arc::clone(push),
                Some(_) => {}
            }
        }
    }
}

impl QueuedPush<'_> {
    /// Whether this push or a newer one of its image is settled.
    fn is_settled(&self) -> bool {
        let state = self.queue.state.lock();
        let settled = state.settled.iter().find(|settled| is_of_same_image(settled, &self.push));
        self.push.order().is_some() && settled.is_some_and(|settled| settled.order() >= self.push.order())
    }
}

fn is_of_same_image(a: &Push, b: &Push) -> bool {
    a.image.tag_key() == b.image.tag_key()
}

impl Drop for QueuedPush<'_> {
    fn drop(&mut self) {
        let mut queues = self.turns.0.lock();
        let mut state = self.queue.state.lock();
        if let Some(own) = state.pushes.iter().position(|push| Arc::ptr_eq(push, &self.push)) {
            state.pushes.swap_remove(own);
        }
        if state.pushes.is_empty() {
            queues.remove(&self.workload);
        }
    }
}
