//! Turns: pushes of one image that want the same workload at the same time work on it one after the other, and
//! whoever has the turn works for the newest of those that wait, so that a burst of pushes is two restarts at most.
//!
//! It saves restarts and nothing rests on it: what was done is told by the record on the workload alone.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use super::Push;
use crate::workload::WorkloadRef;

/// A workload, and the normalised `REPOSITORY:TAG` of the pushes.
type Key = (WorkloadRef, Box<str>);

/// Everybody who waits or works; as many entries as there are, and none where nobody is.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Arc<Line>>>);

/// Those who want one workload for one image.
#[derive(Debug, Default)]
struct Line {
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Who waits or works.
    registered: Vec<Arc<Push>>,
    /// The newest push that was dealt with: older ones have nothing left to do and need no turn.
    dealt_with: Option<Arc<Push>>,
}

/// A place in the line, left when it is dropped: by its end, its deadline or a panic.
#[derive(Debug)]
pub(super) struct Place<'a> {
    turns: &'a Turns,
    key: Key,
    line: Arc<Line>,
    push: Arc<Push>,
}

/// Who may work, and for which push.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// The newest that is registered, or the one's own.
    pub(super) newest: Arc<Push>,
    /// Nobody else works meanwhile; not needed by a push that is older than one that was dealt with.
    _guard: Option<tokio::sync::MutexGuard<'a, ()>>,
}

struct Queued<'a>(&'a Gauge);

impl Turns {
    /// Registers a push.
    pub(super) fn join(&self, workload: &WorkloadRef, push: &Arc<Push>) -> Place<'_> {
        let key = (workload.clone(), push.image.tag_key().unwrap_or_default().into());
        let mut lines = self.0.lock();
        let line = Arc::clone(lines.entry(key.clone()).or_default());
        line.state.lock().registered.push(Arc::clone(push));
        Place { turns: self, key, line, push: Arc::clone(push) }
    }
}

impl Place<'_> {
    /// Waits for the turn, counted in `queued` meanwhile.
    pub(super) async fn turn(&self, queued: &Gauge) -> Turn<'_> {
        let guard = {
            queued.inc();
            // Whoever gives up is dropped here.
            let _queued = Queued(queued);
            self.line.turn.lock().await
        };
        let state = self.line.state.lock();
        let own = self.push.order();
        let is_dealt_with = own.is_some() && state.dealt_with.as_ref().is_some_and(|done| done.order() >= own);
        if is_dealt_with {
            return Turn { newest: Arc::clone(&self.push), _guard: None };
        }
        // A push without a place in the order is nobody's newest, and works for itself.
        let others = state.registered.iter().filter(|other| own.is_some() && other.order() > own);
        let newest = others.max_by(|a, b| a.order().cmp(&b.order())).unwrap_or(&self.push);
        Turn { newest: Arc::clone(newest), _guard: Some(guard) }
    }

    /// To be told, within the turn, of the push that was dealt with.
    pub(super) fn dealt_with(&self, push: &Arc<Push>) {
        let mut state = self.line.state.lock();
        if push.order() > state.dealt_with.as_ref().and_then(|done| done.order()) {
            state.dealt_with = Some(Arc::clone(push));
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.0.lock();
        let mut state = self.line.state.lock();
        if let Some(own) = state.registered.iter().position(|push| Arc::ptr_eq(push, &self.push)) {
            state.registered.swap_remove(own);
        }
        if state.registered.is_empty() {
            lines.remove(&self.key);
        }
    }
}
