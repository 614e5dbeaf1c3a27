//! What the handlers share.

use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::auth::Authenticator;
use super::drain::Draining;
use super::listener::in_flight::InFlight;
use crate::cache::Resolver;
use crate::clock::Clock;
use crate::delivery::Deliveries;
use crate::delivery::answer::Poison;

/// The components of the service, as the handlers see them.
#[derive(Debug)]
pub(super) struct App {
    pub(super) deliveries: Deliveries,
    pub(super) resolver: Arc<Resolver>,
    /// `None`: anyone may push.
    pub(super) authenticator: Option<Arc<Authenticator>>,
    /// All metrics, as `/metrics` shows them.
    pub(super) registry: Registry,
    pub(super) max_body: usize,
    pub(super) in_flight: InFlight,
    pub(super) poison: Poison,
    pub(super) clock: Clock,
    pub(super) draining: Draining,
}

/// Why the service is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotReady {
    Draining,
    NoIndex,
    NoSigningKeys,
}

impl App {
    /// Why the service is not ready; `None` where it is.
    pub(super) fn not_ready(&self) -> Option<NotReady> {
        if self.draining.has_begun() {
            Some(NotReady::Draining)
        } else if self.resolver.current().is_none() {
            Some(NotReady::NoIndex)
        } else if self.authenticator.as_ref().is_some_and(|authenticator| !authenticator.signing_keys().usable) {
            Some(NotReady::NoSigningKeys)
        } else {
            None
        }
    }
}

impl NotReady {
    /// As `/readyz` and `/v1/status` say it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::NoIndex => "no index is loaded yet",
            Self::NoSigningKeys => "there are no keys to check tokens with",
        }
    }
}
