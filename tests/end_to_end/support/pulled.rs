//! Pushes that a test delivers over HTTP, and that the service pulls from a subscription: a suite that was written for
//! push runs through the other entrance as it is ([`Ground::pulled`](super::ground::Ground::pulled)).
//!
//! A service with this entrance has a subscription of its own. A delivery to its push URL is published there, with the id
//! and the publish time that the test gave it. The service pulls it, makes one attempt, and acknowledges the message or
//! gives it back. The delivery gets the status and the answer that it would have got from the service: the log has both.
//! As over HTTP, the test decides what is delivered again. What cannot be pulled (a body without an id, a query) goes to
//! the listener of the service.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use pushroll::pull::PullArgs;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::task::{AbortHandle, JoinSet};

use super::fixtures::PushMessage;
use super::http::{get, send};
use super::proxy::BoxError;
use super::pubsub_server::PubSubServer;
use super::service::ServiceBuilder;

/// `pull`: every service that can do so gets its pushes from a subscription.
const ENTRANCE: &str = "PUSHROLL_ENTRANCE";
/// One for all tests: each service has a topic of its own.
static SERVER: OnceCell<PubSubServer> = OnceCell::const_new();
static FIGURES: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// What became of a delivery.
#[derive(Clone, Copy)]
enum Fate {
    Acknowledged,
    GivenBack,
    CutOff,
    NotPulled,
}

/// Whether all suites of this run are to be pulled.
pub fn is_entrance_of_all() -> bool {
    std::env::var(ENTRANCE).is_ok_and(|entrance| match entrance.as_str() {
        "pull" => true,
        "" | "push" => false,
        other => panic!("{ENTRANCE} is pull or push, and not {other}"),
    })
}

/// For a run by hand.
pub fn print_figures() {
    let [acknowledged, given_back, cut_off, not_pulled] =
        FIGURES.each_ref().map(|figure| figure.load(Ordering::SeqCst));
    println!(
        "{} deliveries were pulled: {acknowledged} acknowledged, {given_back} given back, {cut_off} cut off; {not_pulled} \
         went to the listener",
        acknowledged + given_back + cut_off
    );
}

fn count(fate: Fate) {
    FIGURES[fate as usize].fetch_add(1, Ordering::SeqCst);
}

/// A subscription for one service.
pub struct OwnSubscription {
    server: &'static PubSubServer,
    topic: String,
    pub subscription: String,
}

/// So short a longest lease that each delivery is one attempt.
pub const ONE_ATTEMPT: Duration = Duration::from_nanos(1);

impl OwnSubscription {
    pub async fn create() -> Self {
        let server = SERVER.get_or_init(PubSubServer::start).await;
        let topic = server.topic().await;
        let subscription = server.subscription(&topic, json!({})).await;
        Self { server, topic, subscription }
    }

    /// `HOST:PORT` of its server.
    pub fn host(&self) -> &str {
        &self.server.address
    }

    /// What a service that pulls from it is given, for one attempt a delivery.
    pub fn pull_args(&self) -> PullArgs {
        let (pull, host) = (vec![self.subscription.parse().unwrap()], Some(self.server.address.clone()));
        PullArgs { pull, emulator_host: host, pull_max_lease: ONE_ATTEMPT, ..PullArgs::default() }
    }

    /// To be delivered once.
    pub async fn publish(&self, message: &PushMessage) {
        let data = STANDARD.encode(message.payload().to_string());
        self.publish_once(&message.id, &format!("{:.3}", message.published), &data).await;
    }

    async fn publish_once(&self, id: &str, published: &str, data: &str) {
        let attributes = json!({"test-message-id": id, "test-publish-time": published, "test-once": "true"});
        self.server.publish_with(&self.topic, data, attributes).await;
    }

    /// Takes deliveries for the service that pulls from it and listens at `push_url`.
    pub async fn open(self, push_url: String, answers: Answers) -> Entrance {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = tokio::sync::Mutex::new((answers, BTreeMap::new()));
        let behind = Arc::new(Behind { own: self, push_url, answers });
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(Arc::clone(&behind).converse(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Entrance { url, task: task.abort_handle() }
    }
}

impl ServiceBuilder {
    /// Pulls from this subscription alone, without a public listener.
    pub fn pulls(self, server: &PubSubServer, subscription: &str) -> Self {
        let emulator = [("PUBSUB_EMULATOR_HOST", server.address.as_str())];
        self.without("--insecure-no-auth")
            .without("--listen")
            .arguments(["--pull", subscription])
            .environment(&emulator)
    }
}

/// Takes deliveries as long as it lives.
pub struct Entrance {
    pub url: String,
    task: AbortHandle,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the answers of the service are read.
pub enum Answers {
    /// Its log, as far as it was read, and whether the process has ended.
    Log { log: Arc<Mutex<Vec<Value>>>, read: usize, has_ended: Arc<AtomicBool> },
    /// Its status, at this URL: the last answers at the last look.
    Status { url: String, recent: RecentAnswers },
}

/// The last answers, the newest first, as they were at the last look.
#[derive(Default)]
pub struct RecentAnswers(Vec<Value>);

impl RecentAnswers {
    /// Which of these have come since then, the oldest first.
    pub fn new_ones(&mut self, now: Vec<Value>) -> Vec<Value> {
        let before = std::mem::replace(&mut self.0, now);
        // Two answers may be the same; the list grows until it is full.
        let grown = self.0.len().saturating_sub(before.len());
        let is_continued = |new: &usize| self.0[*new..].iter().zip(&before).all(|(now, before)| now == before);
        let new = (grown..=self.0.len()).find(is_continued).unwrap_or_default();
        self.0[..new].iter().rev().cloned().collect()
    }
}

impl Answers {
    /// The answers since the last call, and whether there may be more.
    async fn new_ones(&mut self) -> (Vec<Value>, bool) {
        match self {
            Self::Log { log, read, has_ended } => {
                let is_alive = !has_ended.load(Ordering::SeqCst);
                let log = log.lock().unwrap();
                let new = log[*read..].iter().filter(|line| line["message"] == "push");
                let new = new.map(|line| line["push"].clone()).collect();
                *read = log.len();
                (new, is_alive)
            }
            Self::Status { url, recent } => {
                let status = get(url).await.json();
                (recent.new_ones(status["recent"].as_array().unwrap().clone()), true)
            }
        }
    }
}

/// The service behind an entrance.
struct Behind {
    own: OwnSubscription,
    push_url: String,
    /// And the answers that nobody has asked for yet, by the id of their message.
    answers: tokio::sync::Mutex<(Answers, BTreeMap<String, VecDeque<Value>>)>,
}

impl Behind {
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let handle = service_fn(|request| self.handle(request));
        // An error of the handler breaks the connection, as the end of a process does.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), handle).await;
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let is_push = head.method == http::Method::POST && head.uri == "/v1/push";
        if let Some((id, published, data)) = Some(&body).filter(|_| is_push).and_then(|body| message(body)) {
            self.own.publish_once(&id, &published, &data).await;
            return self.answer_to(&id).await.map(response).ok_or_else(|| {
                count(Fate::CutOff);
                "the process has ended".into()
            });
        }
        count(Fate::NotPulled);
        let names = ["host", "connection", "content-length", "transfer-encoding"];
        let headers = head.headers.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let answer = send(head.method, &format!("{}{}", self.push_url, head.uri), &headers, body).await;
        let mut response = Response::new(Full::new(answer.body));
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
        Ok(response)
    }

    /// An answer to a message of this id; none where the process has ended before.
    async fn answer_to(&self, id: &str) -> Option<Value> {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let (answers, unclaimed) = &mut *self.answers.lock().await;
            let (new, is_alive) = answers.new_ones().await;
            for answer in new {
                let of = answer["message_id"].as_str().unwrap_or_default().to_owned();
                // Answers to what came by the listeners are in the log as well.
                if answer["subscription"] == self.own.subscription {
                    unclaimed.entry(of).or_insert_with(VecDeque::new).push_back(answer);
                }
            }
            let answer = unclaimed.get_mut(id).and_then(VecDeque::pop_front);
            if answer.is_some() || !is_alive {
                return answer;
            }
        }
    }
}

/// Id, publish time and data of what Pub/Sub delivers.
fn message(body: &[u8]) -> Option<(String, String, String)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| body["message"][name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (id, published, data) = (text("messageId")?, text("publishTime")?, text("data")?);
    published.parse::<Timestamp>().ok()?;
    Some((id, published, data))
}

/// As the service answers a push.
fn response(answer: Value) -> Response<Full<Bytes>> {
    let mut answer = answer;
    let is_failed = answer["outcome"] == "failed";
    count(if is_failed { Fate::GivenBack } else { Fate::Acknowledged });
    let mut response = Response::builder().status(200).header("content-type", "application/json");
    if is_failed {
        let of_workloads = answer["workloads"].as_array().into_iter().flatten().map(|result| &result["reason"]);
        let detail = std::iter::once(&answer["reason"]).chain(of_workloads).find(|reason| reason.is_string()).cloned();
        answer["detail"] = detail.unwrap_or_default();
        answer["type"] = json!("about:blank");
        answer["title"] = json!("not yet");
        answer["status"] = json!(503);
        response = Response::builder().status(503).header("content-type", "application/problem+json");
        response = response.header("retry-after", "1");
    }
    response.body(Full::new(Bytes::from(answer.to_string()))).unwrap()
}
