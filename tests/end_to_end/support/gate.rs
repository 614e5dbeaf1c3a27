//! A gate between a service and its API server: each call about one workload, each LIST of pods, and each about the
//! ConfigMap of what waits, waits there until the test lets it go, and fares as the test says. What else is asked (lists, watches, the cache)
//! passes at once, unless it is a LIST or a new watch of a kind that is forbidden.
//!
//! The gate holds the request itself: it can arrive when the process that sent it is long dead.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tower::service_fn;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Result<Response<Bytes>, BoxError>;

/// Everything that waits; clones share it.
#[derive(Clone, Default)]
pub struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    held: Mutex<Vec<HeldCall>>,
    /// Calls that have not waited, and are not answered yet.
    passing: AtomicUsize,
    /// How often something has arrived, in all.
    arrivals: AtomicUsize,
    /// The kinds that nobody may see, as they are in a path.
    forbidden: Mutex<BTreeSet<String>>,
    /// The senders that are dead.
    silent: Mutex<BTreeSet<usize>>,
}

/// A call that waits to be let go.
#[derive(Debug)]
pub struct HeldCall {
    /// Tells it from all others.
    pub number: usize,
    /// Who sent it: as given to [`Gate::client`].
    pub sender: usize,
    pub method: Method,
    /// Path and query.
    pub uri: String,
    media_type: Option<http::HeaderValue>,
    body: Bytes,
    answer: oneshot::Sender<Answer>,
}

/// The other end of a call that was let go: dropping it breaks the connection.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Answer>);

/// Holds up the watches of one client.
#[derive(Clone)]
pub struct Stall(Arc<watch::Sender<bool>>);

impl Gate {
    /// A client whose calls wait here as those of `sender`, on their way to where `inner` leads.
    pub fn client(&self, sender: usize, inner: &kube::Client, stall: &Stall) -> kube::Client {
        let (gate, inner, stall) = (self.clone(), inner.clone(), stall.clone());
        let calls = service_fn(move |request| {
            let (gate, inner, stalled) = (gate.clone(), inner.clone(), stall.0.subscribe());
            async move { gate.call(sender, &inner, stalled, request).await }
        });
        kube::Client::new(calls, "default")
    }

    async fn call(
        &self,
        sender: usize,
        inner: &kube::Client,
        stalled: watch::Receiver<bool>,
        request: Request<Body>,
    ) -> Result<Response<AnyBody>, BoxError> {
        if self.0.silent.lock().unwrap().contains(&sender) {
            std::future::pending::<()>().await;
        }
        let path = request.uri().path();
        if is_about_one_workload(&request) || is_about_what_waits(path) || is_about_pods(path) {
            let answer = self.hold(sender, request).await?;
            let response = answer.await.map_err(|_| "the connection breaks")??;
            return Ok(response.map(|body| Full::new(body).map_err(BoxError::from).boxed_unsync()));
        }
        if let Some(refusal) = self.forbids(&request) {
            return Ok(refusal.map(|body| Full::new(body).map_err(BoxError::from).boxed_unsync()));
        }
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        self.0.passing.fetch_add(1, Ordering::SeqCst);
        let _passing = Passing(&self.0);
        let response = inner.send(request).await?;
        if is_watch {
            return Ok(response.map(|body| held_up(body, stalled)));
        }
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, Full::new(body).map_err(BoxError::from).boxed_unsync()))
    }

    async fn hold(&self, sender: usize, request: Request<Body>) -> Result<oneshot::Receiver<Answer>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let media_type = head.headers.get(http::header::CONTENT_TYPE).cloned();
        let (answer, receiver) = oneshot::channel();
        let number = self.0.arrivals.fetch_add(1, Ordering::SeqCst);
        self.held().push(HeldCall { number, sender, method: head.method, uri, media_type, body, answer });
        Ok(receiver)
    }

    /// The refusal of a LIST or a watch.
    fn forbids<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let kind = request.uri().path().strip_prefix("/apis/apps/v1/")?.rsplit('/').next()?;
        self.is_forbidden(kind).then(|| status(403, &forbidden("list", kind)))
    }

    fn held(&self) -> MutexGuard<'_, Vec<HeldCall>> {
        self.0.held.lock().unwrap()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.held().len()
    }

    /// Takes one that waits, by its place.
    pub fn take(&self, place: usize) -> HeldCall {
        self.held().remove(place)
    }

    /// Whether a call of this sender to this path waits.
    pub fn holds(&self, sender: usize, path: &str) -> bool {
        self.held().iter().any(|call| call.sender == sender && call.path() == path)
    }

    /// The numbers of the PATCHes of workloads that wait, and the replica that sent each.
    pub fn patches(&self) -> Vec<(usize, usize)> {
        let held = self.held();
        let patches = held.iter().filter(|call| call.is_patch() && !call.is_about_what_waits());
        patches.map(|call| (call.number, call.sender)).collect()
    }

    /// Forbids to see a kind, or permits it. A watch that is open goes on, as it does on a real API server.
    pub fn forbid(&self, kind: &str, is_forbidden: bool) {
        let mut forbidden = self.0.forbidden.lock().unwrap();
        if is_forbidden {
            forbidden.insert(kind.to_owned())
        } else {
            forbidden.remove(kind)
        };
    }

    pub fn is_forbidden(&self, kind: &str) -> bool {
        self.0.forbidden.lock().unwrap().contains(kind)
    }

    /// What this sender asks from now on never arrives, as if it were dead.
    pub fn silence(&self, sender: usize) {
        self.0.silent.lock().unwrap().insert(sender);
    }

    /// Whether nothing is on its way but what waits; and how often something has arrived so far.
    pub fn activity(&self) -> (bool, usize) {
        (self.0.passing.load(Ordering::SeqCst) == 0, self.0.arrivals.load(Ordering::SeqCst))
    }
}

impl HeldCall {
    /// Whether it writes.
    pub fn is_patch(&self) -> bool {
        self.method == Method::PATCH
    }

    /// Whether it is about the ConfigMap of what waits.
    pub fn is_about_what_waits(&self) -> bool {
        is_about_what_waits(self.path())
    }

    /// Whether it lists pods.
    pub fn is_about_pods(&self) -> bool {
        is_about_pods(self.path())
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        self.uri.split('?').next().unwrap_or_default()
    }

    /// Has the API server do what it asks; what that said, and whom to tell.
    pub async fn arrive(self, api: &kube::Client) -> (Response<Bytes>, Reply) {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        if let Some(media_type) = self.media_type {
            request = request.header(http::header::CONTENT_TYPE, media_type);
        }
        let response = api.send(request.body(Body::from(self.body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, body), Reply(self.answer))
    }

    /// What it asks to be changed.
    pub fn patch(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Asks for something else from now on.
    pub fn set_patch(&mut self, patch: &Value) {
        self.body = patch.to_string().into();
    }

    /// It never arrives, and this is the answer: that, and whom to tell.
    pub fn answer(self, body: &Value) -> (Response<Bytes>, Reply) {
        (Response::new(body.to_string().into()), Reply(self.answer))
    }

    /// It never arrives, and the API server answers with a refusal: that answer, and whom to tell.
    pub fn refuse(self, code: u16, message: &str) -> (Response<Bytes>, Reply) {
        (status(code, message), Reply(self.answer))
    }
}

impl Reply {
    /// Whoever asked may be dead.
    pub fn send(self, response: Response<Bytes>) {
        let _ = self.0.send(Ok(response));
    }
}

impl Default for Stall {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stall {
    /// Holds up what watches tell from now on, or lets it go.
    pub fn set(&self, is_stalled: bool) {
        self.0.send_replace(is_stalled);
    }
}

struct Passing<'a>(&'a State);

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.0.passing.fetch_sub(1, Ordering::SeqCst);
        self.0.arrivals.fetch_add(1, Ordering::SeqCst);
    }
}

/// `/apis/apps/v1/namespaces/NAMESPACE/KIND/NAME`
fn is_about_one_workload<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    path.starts_with("/apis/apps/v1/namespaces/") && path.split('/').count() == 8
}

/// `/api/v1/namespaces/NAMESPACE/configmaps/PREFIX-waiting`
fn is_about_what_waits(path: &str) -> bool {
    path.contains("/configmaps/") && path.ends_with("-waiting")
}

/// `/api/v1/namespaces/NAMESPACE/pods`
fn is_about_pods(path: &str) -> bool {
    path.starts_with("/api/v1/namespaces/") && path.ends_with("/pods")
}

/// What RBAC says where a permission is missing.
pub fn forbidden(verb: &str, kind: &str) -> String {
    format!("{kind}.apps is forbidden: User \"u\" cannot {verb} resource \"{kind}\" in API group \"apps\"")
}

fn status(code: u16, message: &str) -> Response<Bytes> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
    Response::builder().status(code).body(status.to_string().into()).unwrap()
}

fn held_up(body: Body, stalled: watch::Receiver<bool>) -> AnyBody {
    let frames = stream::unfold((body, stalled), |(mut body, mut stalled)| async move {
        let frame = body.frame().await?;
        // The sender is as old as the client.
        let _ = stalled.wait_for(|is_stalled| !is_stalled).await;
        Some((frame.map_err(BoxError::from), (body, stalled)))
    });
    StreamBody::new(
        Box::pin(frames) as std::pin::Pin<Box<dyn stream::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send>>
    )
    .boxed_unsync()
}
