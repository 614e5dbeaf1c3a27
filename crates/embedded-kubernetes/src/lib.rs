//! A Kubernetes API server in memory: `pushroll demo`, and tests that take milliseconds.
//!
//! It answers just the calls that pushroll makes, as kube-apiserver 1.36 answers them, and the same
//! tests run against both: what differs is a bug here. A real `kube::Client` talks to it, in this
//! process or over a socket, so true URLs, bodies and headers cross the seam.
//!
//! ```text
//! routes     HTTP: who asks for what, headers, one Status for each refusal
//!   request    method and path -> verb, resource, namespace, name, as the audit log names them
//! write      create, replace, patch, delete: the order of checks of the generic registry
//!   patch          merge, strategic merge and JSON patch
//!   defaults       what the server fills in
//!   validation     what it refuses
//!   managed_fields who wrote what last
//! list       selectors and pages; watch: changes as they come
//! access     who asks what it may do may do anything
//! store      objects by key, and one revision counter for all of them
//! kubelet    the `..data` swap of a mounted ConfigMap
//! ```
//!
//! It must not know pushroll: no annotation keys, no cache format, nothing of `rollout` or `index`.
//! There is no authorization (the bearer token *is* the user), no controller.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod access;
mod defaults;
#[cfg(unix)]
mod kubelet;
mod list;
mod managed_fields;
mod patch;
mod random;
mod request;
mod resource;
mod routes;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod validation;
mod watch;
mod write;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

#[cfg(unix)]
pub use kubelet::{ProjectedVolume, mount_config_map};
use store::Store;

/// A handle to one Kubernetes API in memory; clones share it.
#[derive(Clone, Debug)]
pub struct EmbeddedKubernetes {
    shared: Arc<Shared>,
}

/// One request as the audit log would name it, recorded before it was handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the method
    /// in lower case for paths that are no resource.
    pub verb: String,
    /// The plural, with `/subresource` where there is one; empty for paths such as `/version`.
    pub resource: String,
    /// The namespace in the path.
    pub namespace: Option<String>,
    /// The object's name in the path.
    pub name: Option<String>,
    /// Path and query.
    pub uri: String,
    /// The `User-Agent` header, or empty.
    pub user_agent: String,
}

/// What every request meets while the API server is "away".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No answer until the outage is lifted; then the request is handled as if nothing had been.
    Hang,
    /// A `Status` of this code: 503, 500, 429 (with `Retry-After`), 403, 401.
    Status(u16),
}

/// Name of the policy and of the binding in the refusals that [`EmbeddedKubernetes::deny`] causes.
pub const POLICY_NAME: &str = "embedded-policy";

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    calls: Mutex<Vec<(String, ApiCall)>>,
    denials: Mutex<Vec<Denial>>,
    outage: tokio::sync::watch::Sender<Option<Outage>>,
    clock_offset_ms: AtomicI64,
    /// In Unix milliseconds.
    clock_held_at_ms: AtomicI64,
}

/// The clock is not held.
const NOT_HELD: i64 = i64::MIN;

#[derive(Debug)]
struct Denial {
    namespace: String,
    name: Option<String>,
    message: String,
}

// === impl EmbeddedKubernetes ===

impl EmbeddedKubernetes {
    /// A cluster with the four namespaces that every cluster is born with, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            store: Mutex::new(Store::new()),
            calls: Mutex::default(),
            denials: Mutex::default(),
            outage: tokio::sync::watch::Sender::new(None),
            clock_offset_ms: AtomicI64::new(0),
            clock_held_at_ms: AtomicI64::new(NOT_HELD),
        };
        let now = shared.now();
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            write::create_namespace(&mut shared.store(), name, now);
        }
        Self { shared: Arc::new(shared) }
    }

    /// The API as a service, for a `kube::Client` or a listener.
    pub fn router(&self) -> axum::Router {
        routes::router(Arc::clone(&self.shared))
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
        let offset_ms = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
        self.shared.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// As [`Self::set_clock_offset`], for the moment of construction.
    #[must_use]
    pub fn with_clock_offset(self, offset: SignedDuration) -> Self {
        self.set_clock_offset(offset);
        self
    }

    /// Stops the server's clock at this time, to the millisecond, until it is stopped at another.
    pub fn hold_clock_at(&self, time: Timestamp) {
        self.shared.clock_held_at_ms.store(time.as_millisecond(), Ordering::Relaxed);
    }

    /// The server's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// The requests of one user so far, in order of arrival.
    #[must_use]
    pub fn api_calls(&self, user: &str) -> Vec<ApiCall> {
        let calls = self.shared.calls.lock();
        calls.iter().filter(|(caller, _)| caller == user).map(|(_, call)| call.clone()).collect()
    }

    /// Forgets the changes that watchers could ask for, as etcd's compaction does every few minutes: a watch from an
    /// older revision is told 410.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Takes the API server away from every request, or brings it back.
    pub fn set_outage(&self, outage: Option<Outage>) {
        self.shared.outage.send_replace(outage);
    }

    /// Refuses every later PUT and PATCH of a workload (`None`: of all in the namespace) as a
    /// `ValidatingAdmissionPolicy` without a `reason` of its own does: 422 `Invalid`
    /// (apiserver, `admission/plugin/policy/validating/dispatcher.go`).
    pub fn deny(&self, namespace: &str, name: Option<&str>, message: &str) {
        self.shared.denials.lock().push(Denial {
            namespace: namespace.to_owned(),
            name: name.map(str::to_owned),
            message: message.to_owned(),
        });
    }

    /// Takes back every [`Self::deny`].
    pub fn lift_denials(&self) {
        self.shared.denials.lock().clear();
    }
}

impl Default for EmbeddedKubernetes {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Shared ===

impl Shared {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let held_at_ms = self.clock_held_at_ms.load(Ordering::Relaxed);
        if held_at_ms != NOT_HELD {
            return Timestamp::from_millisecond(held_at_ms).unwrap_or(now);
        }
        let offset = SignedDuration::from_millis(self.clock_offset_ms.load(Ordering::Relaxed));
        now.checked_add(offset).unwrap_or(now)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock()
    }

    /// The message of the first policy against writing this workload.
    fn denial_of(&self, namespace: &str, name: &str) -> Option<String> {
        let denials = self.denials.lock();
        let matching = denials
            .iter()
            .find(|denial| denial.namespace == namespace && denial.name.as_deref().is_none_or(|denied| denied == name));
        matching.map(|denial| denial.message.clone())
    }
}

fn into_axum(request: http::Request<kube::client::Body>) -> http::Request<axum::body::Body> {
    request.map(axum::body::Body::new)
}
