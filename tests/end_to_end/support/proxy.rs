//! A proxy between a service and its API server: what happens to a request on its way is the test's to say.
//!
//! The rule sees each request before it is forwarded, may do something first (an edit by somebody else, waiting
//! for a signal), and then says how the request fares. With a certificate it speaks TLS, and can get another.

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
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::certificates::Authority;
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
    /// The API server does what it is asked, and the connection breaks half way through the body of its answer.
    CutBody,
    /// It never arrives, and there is never an answer.
    Hang,
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
    address: String,
    namespace: String,
    connections: Arc<AtomicUsize>,
    /// How a connection begins. Those that are open end when this changes.
    tls: watch::Sender<Option<Arc<ServerConfig>>>,
    at_once: Arc<AtOnce>,
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
pub(super) type Rule = Arc<dyn Fn(ApiRequest) -> Pin<Box<dyn Future<Output = Passage> + Send>> + Send + Sync>;

impl ApiProxy {
    /// Starts one for a user of its own. [`super::service::ServiceBuilder::through`] is the other end.
    pub async fn start<F>(ground: &Ground, rule: impl Fn(ApiRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Passage> + Send + 'static,
    {
        let user = ground.fresh_user();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, namespace) = (listener.local_addr().unwrap().to_string(), ground.namespace().to_owned());
        let rule: Rule = Arc::new(move |request| Box::pin(rule(request)));
        let (tls, connections, at_once) = (watch::Sender::new(None), Arc::default(), Arc::default());
        let client = client(ground, &user).await;
        let serving = Serving { client, rule, connections: Arc::clone(&connections), at_once: Arc::clone(&at_once) };
        tokio::spawn(serving.serve(listener, tls.subscribe()));
        let kubeconfig = ground.directory().join(format!("{user}.proxy.kubeconfig"));
        let cluster = json!({"server": format!("http://{address}")});
        std::fs::write(&kubeconfig, kubeconfig_of(&cluster, &namespace).to_string()).unwrap();
        Self { user, kubeconfig, address, namespace, connections, at_once, tls }
    }

    /// From now on it has this certificate; what is connected is cut off.
    pub fn present(&self, certificate: Arc<ServerConfig>) {
        self.tls.send_replace(Some(certificate));
    }

    /// Writes a new kubeconfig that speaks TLS and trusts `authority` alone.
    pub fn trust(&self, authority: &Authority) {
        let cluster = json!({
            "server": format!("https://{}", self.address),
            "certificate-authority-data": authority.data(),
        });
        std::fs::write(&self.kubeconfig, kubeconfig_of(&cluster, &self.namespace).to_string()).unwrap();
    }

    /// How often somebody has connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
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

    /// Whether it looks at one workload.
    pub fn is_get(&self) -> bool {
        let path = self.uri.split('?').next().unwrap_or_default();
        self.method == Method::GET && path.starts_with("/apis/apps/v1/") && path.split('/').count() == 8
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

fn kubeconfig_of(cluster: &Value, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": cluster}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}],
    })
}

#[derive(Clone)]
struct Serving {
    client: kube::Client,
    rule: Rule,
    connections: Arc<AtomicUsize>,
    at_once: Arc<AtOnce>,
}

impl Serving {
    async fn serve(self, listener: TcpListener, tls: watch::Receiver<Option<Arc<ServerConfig>>>) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            self.connections.fetch_add(1, Ordering::SeqCst);
            let (serving, mut tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let config = tls.borrow_and_update().clone();
                let another = async {
                    if tls.changed().await.is_err() {
                        // The proxy itself goes on without the value that the test has.
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = serving.begin(stream, config) => {}
                    () = another => {}
                }
            });
        }
    }

    async fn begin(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        let Some(config) = tls else { return self.converse(stream).await };
        // Who does not trust the certificate leaves here.
        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
            self.converse(stream).await;
        }
    }

    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let pass = service_fn(|request| pass(request, &self.client, &self.rule, &self.at_once));
        // An error of the handler breaks the connection, as is intended.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
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

    if let Some(refusal) = refused(passage).await {
        return refusal;
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
    answered(passage, response).await
}

/// What the caller gets of the API server's answer.
pub(super) async fn answered(passage: Passage, response: Response<Body>) -> Result<Response<AnyBody>, BoxError> {
    match passage {
        _ if !response.status().is_success() => Ok(response.map(any)),
        Passage::HeadAlone => {
            let nothing = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
            Ok(response.map(|_| StreamBody::new(nothing).boxed_unsync()))
        }
        Passage::CutBody => Ok(cut(response).await),
        Passage::LoseAnswer => Err("the answer is lost".into()),
        Passage::WithholdAnswer => match std::future::pending::<Infallible>().await {},
        _ => Ok(response.map(any)),
    }
}

/// What there is in place of an answer where the request never arrives.
pub(super) async fn refused(passage: Passage) -> Option<Result<Response<AnyBody>, BoxError>> {
    match passage {
        Passage::Refuse(code, message) => Some(refusal(code, message, None)),
        Passage::RefuseFor(code, seconds) => Some(refusal(code, "come again later", Some(seconds))),
        Passage::Hang => match std::future::pending::<Infallible>().await {},
        _ => None,
    }
}

/// A `Status`, as the API server's own.
fn refusal(code: u16, message: &str, retry_after: Option<u32>) -> Result<Response<AnyBody>, BoxError> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
    let mut response = Response::builder().status(code);
    if let Some(seconds) = retry_after {
        response = response.header(http::header::RETRY_AFTER, seconds);
    }
    Ok(response.body(any(Body::from(status.to_string().into_bytes())))?)
}

/// Half of the first piece of the body, and then the end of the connection. The head may say how long it was.
async fn cut(response: Response<Body>) -> Response<AnyBody> {
    let (head, mut body) = response.into_parts();
    let first = body.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default();
    let half = Frame::data(first.slice(..first.len() / 2));
    let pieces = futures_util::stream::unfold(Some(half), |half| async {
        if half.is_none() {
            // So that the half leaves first.
            tokio::task::yield_now().await;
        }
        Some((half.ok_or_else(|| BoxError::from("cut off")), None))
    });
    Response::from_parts(head, StreamBody::new(pieces).boxed_unsync())
}

pub(super) fn any(body: Body) -> AnyBody {
    body.map_err(BoxError::from).boxed_unsync()
}
