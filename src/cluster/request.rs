//! One call to the API server.
//!
//! kube's own retries are off (they go on for minutes) and it has no read timeout, so every call has a
//! time limit here, body included, and goes through the gate. A call that the API server has no time for is made again
//! when it says, if that is in time: it says so before it does anything, and what we change has a precondition, or is
//! the same when it is done twice. Any other answer that failed is the caller's to judge, as an [`ApiError`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;

use super::error::ApiError;
use super::gate::{DEFAULT_CONCURRENCY, Gate, Patience};
use super::watched::WatchedWorkloads;
use crate::clock::{Clock, ServerClock};
use crate::error_chain::with_causes;
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
    gate: Arc<Gate>,
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

/// An answer, whole.
pub(super) struct Whole {
    pub(super) answer: Response<Bytes>,
    /// From the request to the first of the answer.
    pub(super) first_after: Duration,
    /// For how long the API server wants to be left alone.
    pub(super) pause: Option<Duration>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Cluster {
    /// Talks through `client`; `clock` is ours, to be compared with the API server's.
    pub fn new(client: kube::Client, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let (server_clock, watched) = (Arc::new(ServerClock::unknown()), Arc::default());
        let gate = Arc::new(Gate::new(DEFAULT_CONCURRENCY));
        Self { client, clock, server_clock, metrics, watched, gate }
    }

    /// With another number of calls at once than [`DEFAULT_CONCURRENCY`], over this and all its clones.
    #[must_use]
    pub fn with_concurrency(self, concurrency: usize) -> Self {
        Self { gate: Arc::new(Gate::new(concurrency.max(1))), ..self }
    }

    /// The API server's clock, as of its last answer.
    pub fn server_clock(&self) -> &Arc<ServerClock> {
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

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A client for calls that others make (Events): through the gate, counted, limited in time, never made again.
    pub fn client(&self) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move {
                let verb = match *request.method() {
                    Method::POST => "create",
                    Method::PATCH => "patch",
                    Method::DELETE => "delete",
                    _ => "get",
                };
                let mut labels = RequestLabels { verb, resource: "events", code: 0 };
                let whole = cluster.whole(request, CALL_LIMIT, Patience::of(CALL_LIMIT), &mut labels).await;
                whole.map(|whole| whole.answer.map(Full::new)).map_err(BoxError::from)
            }
        });
        kube::Client::new(service, self.client.default_namespace())
    }

    /// Makes the call and returns the body of a 2xx answer.
    pub(super) async fn call(&self, call: Call) -> Result<Bytes, ApiError> {
        let Call { verb, resource, uri, body } = call;
        let limit = if verb == "list" { LIST_LIMIT } else { CALL_LIMIT };
        let method = match verb {
            "patch" => Method::PATCH,
            "create" => Method::POST,
            "delete" => Method::DELETE,
            _ => Method::GET,
        };
        let is_write = method != Method::GET;
        let body = body.map(|(media_type, body)| (media_type, Bytes::from(body)));
        let patience = Patience::of(limit);
        loop {
            let mut request =
                Request::builder().method(method.clone()).uri(&uri).header(header::ACCEPT, "application/json");
            if let Some((media_type, _)) = &body {
                request = request.header(header::CONTENT_TYPE, *media_type);
            }
            let bytes = body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            let request = request.body(Body::from(bytes)).map_err(|error| ApiError::Unreadable(error.to_string()))?;
            let mut labels = RequestLabels { verb, resource, code: 0 };
            let Whole { answer, pause, .. } = self.whole(request, limit, patience, &mut labels).await?;
            if answer.status().is_success() {
                return Ok(answer.into_body());
            }
            let refusal = || ApiError::from_answer(answer.status(), is_write, answer.body());
            match pause {
                None => return Err(refusal()),
                Some(pause) => patience.again_after(pause, refusal().message())?,
            }
        }
    }

    /// Sends one request in its turn and reads the answer to its end, whatever it is.
    pub(super) async fn whole(
        &self,
        request: Request<Body>,
        limit: Duration,
        patience: Patience,
        labels: &mut RequestLabels,
    ) -> Result<Whole, ApiError> {
        let _place = self.gate.enter(labels.verb == "list", patience, &self.metrics).await?;
        let exchange = async {
            let asked = Instant::now();
            let response = self.send(request).await?;
            let first_after = asked.elapsed();
            labels.code = response.status().as_u16();
            let pause = self.gate.told(response.status(), response.headers());
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| unreachable(&error))?;
            Ok(Whole { answer: Response::from_parts(head, body.to_bytes()), first_after, pause })
        };
        let answer = tokio::time::timeout(limit, exchange).await;
        self.metrics.kubernetes_requests.get_or_create(labels).inc();
        answer.unwrap_or(Err(ApiError::TimedOut(limit)))
    }

    /// Sends the request, and learns the API server's clock from the head of the answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let sent = self.clock.now();
        let response = self.client.send(request).await.map_err(|error| unreachable(&error))?;
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

/// With its causes: hyper's own text is only "client error (Connect)".
pub(super) fn unreachable(error: &kube::Error) -> ApiError {
    ApiError::Unreachable(match error {
        // kube's wrapper says nothing.
        kube::Error::Service(cause) => with_causes(&**cause),
        error => with_causes(error),
    })
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("server_clock", &self.server_clock).finish_non_exhaustive()
    }
}
