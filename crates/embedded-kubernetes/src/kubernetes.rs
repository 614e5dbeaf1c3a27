//! The handle: clients, a listener, the clock, what was called, and the faults.

use std::future::Future;
use std::io;
use std::sync::Arc;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::faults::{Denial, Outage};
use super::request::ApiCall;
use super::state::ServerState;
use super::{routes, write};

/// A handle to one Kubernetes API in memory; clones share it.
#[derive(Clone, Debug)]
pub struct EmbeddedKubernetes {
    pub(super) state: Arc<ServerState>,
}

// === impl EmbeddedKubernetes ===

impl EmbeddedKubernetes {
    /// A cluster with the four namespaces that every cluster is born with, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        let state = ServerState::new();
        let now = state.now();
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            write::create_namespace(&mut state.store(), name, now);
        }
        Self { state: Arc::new(state) }
    }

    /// The API as a service, for a `kube::Client` or a listener.
    pub fn router(&self) -> axum::Router {
        routes::router(Arc::clone(&self.state))
    }

    /// A client in this process, without a socket, as user `anonymous`.
    ///
    /// To be called within a tokio runtime, as `kube::Client::new` is.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.router().map_request(into_axum), "default")
    }

    /// As [`Self::client`], with `user` as its bearer token.
    ///
    /// A user that cannot stand in a header (a line break) is `anonymous`.
    #[must_use]
    pub fn client_as(&self, user: &str) -> kube::Client {
        let bearer = HeaderValue::from_str(&format!("Bearer {user}")).ok();
        let service = self.router().map_request(move |request| {
            let mut request = into_axum(request);
            if let Some(bearer) = &bearer {
                request.headers_mut().insert(AUTHORIZATION, bearer.clone());
            }
            request
        });
        kube::Client::new(service, "default")
    }

    /// Serves the API over plain HTTP until `shutdown`, then until the requests in flight are answered.
    ///
    /// Requests that [`Outage::Hang`] holds are in flight: lift it first.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).await
    }

    /// Sets the server's clock this far ahead of ours (behind, when negative), from now on: the `Date`
    /// header, `creationTimestamp`, the times in `managedFields`.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.state.set_clock_offset(offset);
    }

    /// As [`Self::set_clock_offset`], for the moment of construction.
    #[must_use]
    pub fn with_clock_offset(self, offset: SignedDuration) -> Self {
        self.set_clock_offset(offset);
        self
    }

    /// Stops the server's clock at this time, to the millisecond, until it is stopped at another.
    pub fn hold_clock_at(&self, time: Timestamp) {
        self.state.hold_clock_at(time);
    }

    /// The server's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now()
    }

    /// The requests of one user so far, in order of arrival.
    #[must_use]
    pub fn api_calls(&self, user: &str) -> Vec<ApiCall> {
        let calls = self.state.calls.lock();
        calls.iter().filter(|(caller, _)| caller == user).map(|(_, call)| call.clone()).collect()
    }

    /// Forgets the changes that watchers could ask for, as etcd's compaction does every few minutes: a watch from an
    /// older revision is told 410.
    pub fn compact(&self) {
        self.state.store().compact();
    }

    /// Takes the API server away from every request, or brings it back.
    pub fn set_outage(&self, outage: Option<Outage>) {
        self.state.outage.send_replace(outage);
    }

    /// Refuses every later PUT and PATCH of a workload (`None`: of all in the namespace) as a
    /// `ValidatingAdmissionPolicy` without a `reason` of its own does: 422 `Invalid`
    /// (apiserver, `admission/plugin/policy/validating/dispatcher.go`).
    pub fn deny(&self, namespace: &str, name: Option<&str>, message: &str) {
        self.state.denials.lock().push(Denial {
            namespace: namespace.to_owned(),
            name: name.map(str::to_owned),
            message: message.to_owned(),
        });
    }

    /// Takes back every [`Self::deny`].
    pub fn lift_denials(&self) {
        self.state.denials.lock().clear();
    }
}

impl Default for EmbeddedKubernetes {
    fn default() -> Self {
        Self::new()
    }
}

fn into_axum(request: http::Request<kube::client::Body>) -> http::Request<axum::body::Body> {
    request.map(axum::body::Body::new)
}
