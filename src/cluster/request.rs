//! One call to the API server.
//!
//! kube's own retries are off, because they go on for minutes, and kube has no read timeout. So every call has a time
//! limit here, body included, and goes through the gate. A call for which the API server asks for a pause is made again
//! after the pause, if that is in time. That is safe: the API server asks before it does anything, and our writes have
//! a precondition or do the same when they are done twice. The caller judges any other failure, as an [`ApiError`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde::de::DeserializeOwned;

use super::error::{ApiError, is_refused_by_admission};
use super::gate::{DEFAULT_CONCURRENCY, Gate, WaitLimits};
use super::metrics::{ClusterMetrics, RequestLabels, Resource, Verb};
use super::watched::WatchedWorkloads;
use crate::clock::{Clock, ServerClock};
use crate::error_chain::with_causes;

/// Time limit of a GET or a write, but [`super::slow_write`]: well under Pub/Sub's default ack deadline of 10 s.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of one page of a LIST. A scan may take longer than the pushes that wait for it.
pub(super) const LIST_LIMIT: Duration = Duration::from_secs(30);

/// The API server, as far as pushroll talks to it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    clock: Clock,
    server_clock: Arc<ServerClock>,
    metrics: ClusterMetrics,
    watched: Arc<WatchedWorkloads>,
    gate: Arc<Gate>,
}

/// A call.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) resource: Resource,
    /// Path and query.
    pub(super) uri: String,
    /// JSON, and its media type.
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

/// A call, made again after each pause that the API server asks for while there is time for that.
pub(super) struct CallAttempts {
    verb: Verb,
    resource: Resource,
    uri: String,
    body: Option<(&'static str, Bytes)>,
    pub(super) wait_limits: WaitLimits,
}

/// An answer that was read to its end.
pub(super) struct WholeAnswer {
    pub(super) answer: Response<Bytes>,
    /// From the request to the head of the answer.
    pub(super) first_after: Duration,
    /// The pause that the API server asks for.
    pub(super) pause: Option<Duration>,
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Cluster {
    /// Makes its calls through `client`. `clock` is our own, which is compared with the API server's.
    pub fn new(client: kube::Client, clock: Clock, metrics: ClusterMetrics) -> Self {
        let (server_clock, watched) = (Arc::new(ServerClock::unknown()), Arc::default());
        let gate = Arc::new(Gate::new(DEFAULT_CONCURRENCY));
        Self { client, clock, server_clock, metrics, watched, gate }
    }

    /// With another number of calls at once than [`DEFAULT_CONCURRENCY`], counted over this and all its clones.
    #[must_use]
    pub fn with_concurrency(self, concurrency: usize) -> Self {
        Self { gate: Arc::new(Gate::new(concurrency.max(1))), ..self }
    }

    /// The API server's clock, as of its last answer.
    pub fn server_clock(&self) -> &Arc<ServerClock> {
        &self.server_clock
    }

    /// The workloads as the watches last delivered them; none where nothing is watched.
    pub fn watched(&self) -> Arc<WatchedWorkloads> {
        Arc::clone(&self.watched)
    }

    /// Our clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A kube client for Events. Its calls go through the gate, are counted and limited in time, and are made once.
    pub fn client(&self) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move {
                let verb = match *request.method() {
                    Method::POST => Verb::Create,
                    Method::PATCH => Verb::Patch,
                    Method::DELETE => Verb::Delete,
                    _ => Verb::Get,
                };
                let mut labels = RequestLabels { verb, resource: Resource::Events, code: 0 };
                let sent = cluster.send_whole(request, CALL_LIMIT, WaitLimits::of(CALL_LIMIT), &mut labels).await;
                sent.map(|whole| whole.answer.map(Full::new)).map_err(BoxError::from)
            }
        });
        kube::Client::new(service, self.client.default_namespace())
    }

    /// Makes the call and returns the body of a 2xx answer.
    pub(super) async fn call(&self, call: Call) -> Result<Bytes, ApiError> {
        let limit = if call.verb == Verb::List { LIST_LIMIT } else { CALL_LIMIT };
        let attempts = CallAttempts::new(call, limit);
        loop {
            let mut labels = attempts.labels();
            let sent = self.send_whole(attempts.request()?, limit, attempts.wait_limits, &mut labels).await?;
            if let Some(body) = attempts.judge(sent)? {
                return Ok(body);
            }
        }
    }

    /// Makes the call and decodes the body of a 2xx answer.
    pub(super) async fn call_for<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        let body = self.call(call).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Unreadable(error.to_string()))
    }

    /// Waits for a permit, sends one request and reads the answer to its end, whatever its status is.
    pub(super) async fn send_whole(
        &self,
        request: Request<Body>,
        limit: Duration,
        wait_limits: WaitLimits,
        labels: &mut RequestLabels,
    ) -> Result<WholeAnswer, ApiError> {
        let _permit = self.gate.enter(labels.verb == Verb::List, wait_limits, &self.metrics).await?;
        let answer = tokio::time::timeout(limit, self.exchange(request, labels)).await;
        self.metrics.requests.get_or_create(labels).inc();
        answer.unwrap_or(Err(ApiError::TimedOut(limit)))
    }

    /// Sends one request and reads the answer to its end, without a time limit.
    pub(super) async fn exchange(
        &self,
        request: Request<Body>,
        labels: &mut RequestLabels,
    ) -> Result<WholeAnswer, ApiError> {
        let asked = Instant::now();
        let response = self.send(request).await?;
        let first_after = asked.elapsed();
        labels.code = response.status().as_u16();
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| unreachable(&error))?.to_bytes();
        // A webhook may refuse with 429 or 503 and `Retry-After`. That is not the API server's wish for a pause.
        let is_refusal = labels.verb.is_write() && !head.status.is_success() && is_refused_by_admission(&body);
        // An API server may limit Events alone (its admission plugin EventRateLimit). Nothing else waits for them.
        let is_of_all = labels.resource != Resource::Events;
        let pause = if is_refusal || !is_of_all { None } else { self.gate.note_pause(head.status, &head.headers) };
        Ok(WholeAnswer { answer: Response::from_parts(head, body), first_after, pause })
    }

    /// Sends the request, and notes the time that the head of the answer shows of the API server's clock.
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

impl CallAttempts {
    /// Attempts that begin within `limit`.
    pub(super) fn new(call: Call, limit: Duration) -> Self {
        let body = call.body.map(|(media_type, body)| (media_type, Bytes::from(body)));
        Self { verb: call.verb, resource: call.resource, uri: call.uri, body, wait_limits: WaitLimits::of(limit) }
    }

    /// The request of the next attempt.
    pub(super) fn request(&self) -> Result<Request<Body>, ApiError> {
        let method = match self.verb {
            Verb::Get | Verb::List | Verb::Watch => Method::GET,
            Verb::Create => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        let mut request = Request::builder().method(method).uri(&self.uri).header(header::ACCEPT, "application/json");
        if let Some((media_type, _)) = &self.body {
            request = request.header(header::CONTENT_TYPE, *media_type);
        }
        let bytes = self.body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        request.body(Body::from(bytes)).map_err(|error| ApiError::Unreadable(error.to_string()))
    }

    pub(super) fn labels(&self) -> RequestLabels {
        RequestLabels { verb: self.verb, resource: self.resource, code: 0 }
    }

    /// The body of a 2xx answer; `None`: the API server asks for a pause, and there is time for another attempt.
    pub(super) fn judge(&self, sent: WholeAnswer) -> Result<Option<Bytes>, ApiError> {
        let WholeAnswer { answer, pause, .. } = sent;
        if answer.status().is_success() {
            return Ok(Some(answer.into_body()));
        }
        let refusal = ApiError::from_answer(answer.status(), self.verb.is_write(), answer.body());
        match pause {
            None => Err(refusal),
            Some(pause) => self.wait_limits.again_after(pause, refusal.message()).map(|()| None),
        }
    }
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
