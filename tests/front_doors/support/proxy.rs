//! A proxy between a service and its API server: what happens to a request on its way is the test's to say.
//!
//! The rule sees each request before it is forwarded, may do something first (an edit by somebody else, waiting
//! for a signal), and then says how the request fares.

use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
}

/// Ends with the test's runtime.
pub struct ApiProxy {
    /// Who its service is to the API server.
    pub user: String,
    kubeconfig: PathBuf,
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
        let kubeconfig = ground.directory().join(format!("{user}.proxy.kubeconfig"));
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::fs::write(&kubeconfig, kubeconfig_of(&url, ground.namespace()).to_string()).unwrap();
        let rule: Rule = Arc::new(move |request| Box::pin(rule(request)));
        tokio::spawn(serve(listener, client(ground, &user).await, rule));
        Self { user, kubeconfig }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl ApiRequest {
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

fn kubeconfig_of(url: &str, namespace: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}],
    })
}

async fn serve(listener: TcpListener, client: kube::Client, rule: Rule) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (client, rule) = (client.clone(), Arc::clone(&rule));
        tokio::spawn(async move {
            let pass = service_fn(|request| pass(request, &client, &rule));
            // An error of the handler breaks the connection, as is intended.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
        });
    }
}

async fn pass(request: Request<Incoming>, client: &kube::Client, rule: &Rule) -> Result<Response<AnyBody>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let passage = rule(ApiRequest { method: head.method.clone(), uri: uri.clone() }).await;

    if let Passage::Refuse(code, message) = passage {
        return refusal(code, message);
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
        Passage::Forward | Passage::Refuse(..) => Ok(response.map(any)),
        Passage::HeadAlone => {
            let nothing = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
            Ok(response.map(|_| StreamBody::new(nothing).boxed_unsync()))
        }
        Passage::LoseAnswer => Err("the answer is lost".into()),
        Passage::WithholdAnswer => match std::future::pending::<Infallible>().await {},
    }
}

/// A `Status`, as the API server's own.
pub(super) fn refusal(code: u16, message: &str) -> Result<Response<AnyBody>, BoxError> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
    Ok(Response::builder().status(code).body(any(Body::from(status.to_string().into_bytes())))?)
}

pub(super) fn any(body: Body) -> AnyBody {
    body.map_err(BoxError::from).boxed_unsync()
}
