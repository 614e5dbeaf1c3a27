//! A load balancer as a Service behind an ingress is one: it keeps connections open, sends to whoever was ready when it
//! looked last, and is told of nothing.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::http::get;
use super::service::Service;
use super::wait::eventually;

/// Between two looks at the readiness of a replica.
const LOOK: Duration = Duration::from_millis(50);

/// Ends with the test's runtime.
#[derive(Clone)]
pub struct LoadBalancer(Arc<Shared>);

struct Shared {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    replicas: Mutex<Vec<Replica>>,
    /// Requests that were sent to a replica and not answered.
    cut_off: Mutex<Vec<String>>,
}

struct Replica {
    /// Names it: another may have its URL later.
    process_id: u32,
    url: String,
    is_ready: bool,
    /// What the last look has shown, where that was no readiness.
    looked: String,
    sent: usize,
}

impl LoadBalancer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        // What a replica cuts off is to be seen, not to be sent again.
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared { url, client, replicas: Mutex::default(), cut_off: Mutex::default() };
        let balancer = Self(Arc::new(shared));
        let accepting = balancer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let balancer = accepting.clone();
                tokio::spawn(async move {
                    let pass = service_fn(|request| balancer.pass(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
                });
            }
        });
        balancer
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Adds a replica, and waits until it is sent to.
    pub async fn add(&self, service: &Service) {
        let (process_id, readiness) = (service.process_id(), format!("{}/readyz", service.internal));
        self.0.replicas.lock().unwrap().push(Replica {
            process_id,
            url: service.public.clone(),
            is_ready: false,
            looked: String::new(),
            sent: 0,
        });
        let balancer = self.clone();
        tokio::spawn(async move {
            let mut was_ready = false;
            loop {
                let answer = super::http::try_send(http::Method::GET, &readiness, &[], Vec::new()).await;
                let (is_ready, looked) = match answer {
                    Ok(answer) => (answer.status == 200, answer.text()),
                    Err(error) => (false, format!("{error:?}")),
                };
                balancer.with(process_id, |replica| (replica.is_ready, replica.looked) = (is_ready, looked));
                // A pod that is no longer ready does not come back. Its ports may soon be those of another test's service.
                if was_ready && !is_ready {
                    return;
                }
                was_ready = is_ready;
                tokio::time::sleep(LOOK).await;
            }
        });
        eventually("the replica is ready", async || self.is_sent_to(service).then_some(())).await;
        // As it sees itself, too: what follows does not race with the look.
        assert_eq!(get(&format!("{}/readyz", service.internal)).await.status, 200);
    }

    /// Whether requests go there now.
    pub fn is_sent_to(&self, service: &Service) -> bool {
        self.with(service.process_id(), |replica| replica.is_ready)
    }

    /// How many requests went there.
    pub fn sent(&self, service: &Service) -> usize {
        self.with(service.process_id(), |replica| replica.sent)
    }

    /// Each request that a replica was sent and did not answer.
    pub fn cut_off(&self) -> Vec<String> {
        self.0.cut_off.lock().unwrap().clone()
    }

    fn with<T>(&self, process_id: u32, what: impl FnOnce(&mut Replica) -> T) -> T {
        let mut replicas = self.0.replicas.lock().unwrap();
        what(replicas.iter_mut().find(|replica| replica.process_id == process_id).unwrap())
    }

    fn looks(&self) -> Vec<String> {
        self.0.replicas.lock().unwrap().iter().map(|replica| replica.looked.clone()).collect()
    }

    /// The one of those that are ready that was sent the fewest.
    fn choose(&self) -> Option<String> {
        let mut replicas = self.0.replicas.lock().unwrap();
        let replica = replicas.iter_mut().filter(|replica| replica.is_ready).min_by_key(|replica| replica.sent)?;
        replica.sent += 1;
        Some(replica.url.clone())
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let answer = match self.choose() {
            None => Err(format!("no replica is ready: {:?}", self.looks())),
            Some(replica) => self.send(&replica, request).await.map_err(|error| format!("{replica}: {error}")),
        };
        Ok(answer.unwrap_or_else(|error| {
            self.0.cut_off.lock().unwrap().push(error);
            let mut bad_gateway = Response::default();
            *bad_gateway.status_mut() = StatusCode::BAD_GATEWAY;
            bad_gateway
        }))
    }

    async fn send(
        &self,
        replica: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let (mut head, body) = request.into_parts();
        head.uri = format!("{replica}{}", head.uri.path()).parse::<Uri>()?;
        head.headers.remove(http::header::CONNECTION);
        head.headers.remove(http::header::HOST);
        let body = Full::new(body.collect().await?.to_bytes());
        let (mut head, body) = self.0.client.request(Request::from_parts(head, body)).await?.into_parts();
        // Of the connection to the replica, not of that to the caller.
        head.headers.remove(http::header::CONNECTION);
        Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
    }
}
