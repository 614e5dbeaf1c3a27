//! One call to the API server.
//!
//! kube's own retries are off (they go on for minutes) and it has no read timeout, so every call has a
//! time limit here, body included. An answer that failed is the caller's to judge, as an [`ApiError`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use kube::client::Body;

use super::error::ApiError;
use super::watched::WatchedWorkloads;
use crate::clock::{Clock, ServerClock};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::RequestLabels;

/// Time limit of a GET or a write: well under Pub/Sub's default ack deadline of 10 s.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of one page of a LIST; a scan outlives the pushes that wait for it.
pub(super) const LIST_LIMIT: Duration = Duration::from_secs(30);

/// The API server, as far as pushroll talks to it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    clock: Clock,
    server_clock: Arc<ServerClock>,
    metrics: Arc<Metrics>,
    watched: Arc<WatchedWorkloads>,
}

/// A call, described for the metrics as well.
pub(super) struct Call {
    /// As Kubernetes' audit log names it: `get`, `list`, `patch`, `create`, `delete`.
    pub(super) verb: &'static str,
    /// `deployments`, `configmaps`, ...
    pub(super) resource: &'static str,
    /// Path and query.
    pub(super) uri: String,
    /// JSON, and its media type.
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

impl Cluster {
    /// Talks through `client`; `clock` is ours, to be compared with the API server's.
    pub fn new(client: kube::Client, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let (server_clock, watched) = (Arc::new(ServerClock::unknown()), Arc::default());
        Self { client, clock, server_clock, metrics, watched }
    }

    /// The API server's clock, as of its last answer.
    pub fn server_clock(&self) -> &ServerClock {
        &self.server_clock
    }

    /// The workloads as a watch has last told of them; none where nothing is watched.
    pub fn watched(&self) -> Arc<WatchedWorkloads> {
        Arc::clone(&self.watched)
    }

    /// Our clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The client, for calls that are not of pushroll's main job.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Makes the call and returns the body of a 2xx answer.
    pub(super) async fn call(&self, call: Call) -> Result<Bytes, ApiError> {
        let limit = if call.verb == "list" { LIST_LIMIT } else { CALL_LIMIT };
        let mut labels = RequestLabels { verb: call.verb, resource: call.resource, code: 0 };
        let answer = tokio::time::timeout(limit, self.exchange(call, &mut labels.code)).await;
        self.metrics.kubernetes_requests.get_or_create(&labels).inc();
        answer.unwrap_or(Err(ApiError::TimedOut(limit)))
    }

    async fn exchange(&self, call: Call, code: &mut u16) -> Result<Bytes, ApiError> {
        let method = match call.verb {
            "patch" => Method::PATCH,
            "create" => Method::POST,
            "delete" => Method::DELETE,
            _ => Method::GET,
        };
        let mut request =
            Request::builder().method(method.clone()).uri(call.uri).header(header::ACCEPT, "application/json");
        let is_write = method != Method::GET;
        let body = match call.body {
            None => Vec::new(),
            Some((media_type, body)) => {
                request = request.header(header::CONTENT_TYPE, media_type);
                body
            }
        };
        let request = request.body(Body::from(body)).map_err(|error| ApiError::Unreadable(error.to_string()))?;

        let response = self.send(request).await?;
        let status = response.status();
        *code = status.as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| ApiError::Unreachable(with_sources(&error)))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(ApiError::from_answer(status, is_write, &body)) }
    }

    /// Sends the request, and learns the API server's clock from the head of the answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let sent = self.clock.now();
        let response = self.client.send(request).await.map_err(|error| ApiError::Unreachable(with_sources(&error)))?;
        if let Some(date) = date(&response) {
            self.server_clock.observe(date, sent, self.clock.now());
        }
        Ok(response)
    }
}

/// The `Date` header.
pub(super) fn date<B>(response: &Response<B>) -> Option<&str> {
    response.headers().get(header::DATE).and_then(|date| date.to_str().ok())
}

/// An error with what caused it: hyper's own text is only "client error (Connect)". kube's wrapper adds nothing.
pub(super) fn with_sources(error: &kube::Error) -> String {
    let mut text = match error {
        kube::Error::Service(cause) => cause.to_string(),
        error => error.to_string(),
    };
    for cause in sources(error).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// What caused an error, from the outside in.
pub(super) fn sources(error: &kube::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first: Option<&(dyn std::error::Error + 'static)> = match error {
        kube::Error::Service(cause) => Some(&**cause),
        error => std::error::Error::source(error),
    };
    std::iter::successors(first, |cause| cause.source())
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("server_clock", &self.server_clock).finish_non_exhaustive()
    }
}
