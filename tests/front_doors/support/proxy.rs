//! A proxy between a service and its API server: what happens to a request on its way is the test's to say.
//!
//! The rule sees each request before it is forwarded, may do something first (an edit by somebody else, waiting
//! for a signal), and then says how the request fares.

use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::net::TcpListener;

use super::ground::Ground;

/// A request on its way to the API server.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    pub method: Method,
    /// Path and query.
    pub uri: String,
}

/// How a request fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// As if there were no proxy.
    Forward,
    /// The API server does what it is asked, and the connection breaks before the answer. A refusal comes through.
    LoseAnswer,
    /// The API server does what it is asked, and no answer ever comes. A refusal comes through.
    WithholdAnswer,
    /// The API server does what it is asked, and of its answer only the head comes, never the body.
    HeadAlone,
    /// It never arrives; a `Status` of this code and message is the answer.
    Refuse(u16, &'static str),
    /// As [`Self::Refuse`], with `Retry-After` in seconds.
    RefuseFor(u16, u32),
}

/// How many requests there are at once: from their arrival to the head of their answer, watches apart.
#[derive(Debug, Default)]
struct AtOnce {
    now: AtomicUsize,
    peak: AtomicUsize,
}

struct Counted<'a>(&'a AtOnce);

impl AtOnce {
    fn one_more(&self) -> Counted<'_> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        Counted(self)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends with the test's runtime.
pub struct ApiProxy {
    /// Who its service is to the API server.
    pub user: String,
    kubeconfig: PathBuf,
    at_once: Arc<AtOnce>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
type Rule = Arc<dyn Fn(ApiRequest) -> Pin<Box<dyn Future<Output = Passage> + Send>> + Send + Sync>;

impl ApiProxy {
    /// Starts one for a user of its own. [`super::service::ServiceBuilder::through`] is the other end.
    pub async fn start<F>(ground: &Ground, rule: impl Fn(ApiRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Passage> + Send + 'static,
    {
        let user = ground.fresh_user();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let kubeconfig = ground.directory().join(format!("{user}.proxy.kubeconfig"));
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::fs::write(&kubeconfig, kubeconfig_of(&url, ground.namespace()).to_string()).unwrap();
        let rule: Rule = Arc::new(move |request| Box::pin(rule(request)));
        let at_once = Arc::default();
        tokio::spawn(serve(listener, client(ground, &user).await, rule, Arc::clone(&at_once)));
        Self { user, kubeconfig, at_once }
    }

    /// How many requests there are now, and the most that there have been at once.
    pub fn at_once(&self) -> (usize, usize) {
        (self.at_once.now.load(Ordering::SeqCst), self.at_once.peak.load(Ordering::SeqCst))
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl ApiRequest {
    /// Whether it asks for a watch.
    pub fn is_watch(&self) -> bool {
        self.uri.contains("watch=true")
    }

    /// Whether it writes a workload.
    pub fn is_patch(&self) -> bool {
        self.method == Method::PATCH && self.uri.starts_with("/apis/apps/v1/")
    }
}

/// True the first time alone: for rules that interfere once.
pub fn once() -> impl Fn() -> bool + Clone + Send + Sync + 'static {
    let done = Arc::new(AtomicBool::new(false));
    move || !done.swap(true, Ordering::SeqCst)
}

/// One that hides nothing: no retries of its own.
async fn client(ground: &Ground, user: &str) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(ground.kubeconfig(user)).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

fn kubeconfig_of(url: &str, namespace: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}],
    })
}

async fn serve(listener: TcpListener, client: kube::Client, rule: Rule, at_once: Arc<AtOnce>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (client, rule, at_once) = (client.clone(), Arc::clone(&rule), Arc::clone(&at_once));
        tokio::spawn(async move {
            let pass = service_fn(|request| pass(request, &client, &rule, &at_once));
            // An error of the handler breaks the connection, as is intended.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
        });
    }
}

async fn pass(
    request: Request<Incoming>,
    client: &kube::Client,
    rule: &Rule,
    at_once: &AtOnce,
) -> Result<Response<AnyBody>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let asked = ApiRequest { method: head.method.clone(), uri: uri.clone() };
    let _counted = (!asked.is_watch()).then(|| at_once.one_more());
    let passage = rule(asked).await;

    let refusal = match passage {
        Passage::Refuse(code, message) => Some((code, message, None)),
        Passage::RefuseFor(code, seconds) => Some((code, "come again later", Some(seconds))),
        _ => None,
    };
    if let Some((code, message, retry_after)) = refusal {
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
        let mut answer = Response::builder().status(code);
        if let Some(seconds) = retry_after {
            answer = answer.header(http::header::RETRY_AFTER, seconds);
        }
        return Ok(answer.body(any(Body::from(status.to_string().into_bytes())))?);
    }
    let mut forwarded = Request::builder().method(head.method).uri(uri);
    for name in [http::header::ACCEPT, http::header::ACCEPT_ENCODING, http::header::CONTENT_TYPE] {
        if let Some(value) = head.headers.get(&name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let mut response = client.send(forwarded.body(Body::from(body))?).await?;
    for of_one_connection in [http::header::CONNECTION, http::header::TRANSFER_ENCODING] {
        response.headers_mut().remove(of_one_connection);
    }
    match passage {
        _ if !response.status().is_success() => Ok(response.map(any)),
        Passage::Forward | Passage::Refuse(..) | Passage::RefuseFor(..) => Ok(response.map(any)),
        Passage::HeadAlone => {
            let nothing = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
            Ok(response.map(|_| StreamBody::new(nothing).boxed_unsync()))
        }
        Passage::LoseAnswer => Err("the answer is lost".into()),
        Passage::WithholdAnswer => match std::future::pending::<Infallible>().await {},
    }
}

fn any(body: Body) -> AnyBody {
    body.map_err(BoxError::from).boxed_unsync()
}
