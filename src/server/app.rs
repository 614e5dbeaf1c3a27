//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::registry::Registry;

use super::auth::Authenticator;
use super::listener::in_flight::InFlight;
use crate::cache::Resolver;
use crate::clock::Clock;
use crate::delivery::Deliveries;
use crate::delivery::answer::Poison;
use crate::following::VerifyPods;
use crate::pull::{PullMetrics, Subscription, SubscriptionStatus};
use crate::rollout::waiting::Waiting;

/// The components of the service, as the handlers see them.
#[derive(Debug)]
pub(super) struct App {
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) resolver: Arc<Resolver>,
    /// `None`: anyone may push.
    pub(super) authenticator: Option<Arc<Authenticator>>,
    /// All metrics, as `/metrics` shows them.
    pub(super) registry: Registry,
    pub(super) max_body: usize,
    pub(super) in_flight: InFlight,
    pub(super) poison: Poison,
    pub(super) clock: Clock,
    /// What waits.
    pub(super) waiting: Arc<Waiting>,
    pub(super) verify_pods: VerifyPods,
    /// The subscriptions that are read.
    pub(super) subscriptions: Vec<Arc<Subscription>>,
    pub(super) pull_metrics: PullMetrics,
    /// Set once, when the service is asked to end.
    pub(super) draining: Arc<AtomicBool>,
}

pub(super) const DRAINING: &str = "draining";
pub(super) const NO_INDEX: &str = "no index is loaded yet";
pub(super) const NO_SIGNING_KEYS: &str = "there are no keys to check tokens with";

impl App {
    /// Why the service is not ready; `None` where it is.
    pub(super) fn not_ready(&self) -> Option<String> {
        if self.is_draining() {
            Some(DRAINING.to_owned())
        } else if self.resolver.current().is_none() {
            Some(NO_INDEX.to_owned())
        } else if self.authenticator.as_ref().is_some_and(|authenticator| !authenticator.signing_keys().usable) {
            Some(NO_SIGNING_KEYS.to_owned())
        } else {
            self.never_read()
        }
    }

    /// Which subscription could not be read yet since the start, and why; `None` where each could.
    pub(super) fn never_read(&self) -> Option<String> {
        let never = self.subscriptions.iter().find(|subscription| !subscription.has_been_connected())?;
        let SubscriptionStatus { subscription, error, .. } = never.status();
        Some(format!("{subscription}: {}", error.unwrap_or_else(|| "it has not been read yet".to_owned())))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
