//! What is known of one subscription: for the status, readiness and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

use super::SubscriptionName;

/// One subscription that is read.
#[derive(Debug)]
pub struct Subscription {
    name: SubscriptionName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connected_since: Option<Timestamp>,
    has_been_connected: bool,
    last_message: Option<Timestamp>,
    error: Option<(String, Timestamp)>,
    /// When each held message came, the oldest first.
    held: BTreeMap<u64, Timestamp>,
    messages: u64,
}

/// As `/v1/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionStatus {
    /// `projects/P/subscriptions/S`.
    pub subscription: String,
    /// Since when it can be read without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<Timestamp>,
    /// When this replica got its last message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Timestamp>,
    /// Messages that are held now.
    pub held: u64,
    /// When the oldest of them came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_held: Option<Timestamp>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_since: Option<Timestamp>,
}

/// Counts a message as held until it is dropped.
#[derive(Debug)]
pub(super) struct HeldGuard {
    subscription: Arc<Subscription>,
    number: u64,
}

impl Subscription {
    /// Nothing is known of it yet.
    pub fn new(name: SubscriptionName) -> Self {
        Self { name, state: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &SubscriptionName {
        &self.name
    }

    /// What is known now.
    pub fn status(&self) -> SubscriptionStatus {
        let state = self.state.lock();
        SubscriptionStatus {
            subscription: self.name.to_string(),
            connected_since: state.connected_since,
            last_message: state.last_message,
            held: u64::try_from(state.held.len()).unwrap_or(u64::MAX),
            oldest_held: state.held.values().next().copied(),
            error: state.error.as_ref().map(|(error, _)| error.clone()),
            error_since: state.error.as_ref().map(|(_, since)| *since),
        }
    }

    /// Whether it could be read once since the start.
    pub(crate) fn has_been_connected(&self) -> bool {
        self.state.lock().has_been_connected
    }

    /// It can be read. Returns whether that is new.
    pub(super) fn connected(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        state.error = None;
        state.has_been_connected = true;
        let is_new = state.connected_since.is_none();
        state.connected_since.get_or_insert(now);
        is_new
    }

    /// It cannot be read. Returns whether that is new.
    pub(super) fn unreadable(&self, error: String, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        state.connected_since = None;
        let is_new = state.error.as_ref().is_none_or(|(known, _)| *known != error);
        let since = state.error.as_ref().map_or(now, |(_, since)| *since);
        state.error = Some((error, since));
        is_new
    }

    /// A message has come, which is held until the guard is dropped.
    pub(super) fn hold(self: &Arc<Self>, now: Timestamp) -> HeldGuard {
        let mut state = self.state.lock();
        state.last_message = Some(now);
        state.messages += 1;
        let number = state.messages;
        state.held.insert(number, now);
        HeldGuard { subscription: Arc::clone(self), number }
    }
}

impl Drop for HeldGuard {
    fn drop(&mut self) {
        self.subscription.state.lock().held.remove(&self.number);
    }
}
