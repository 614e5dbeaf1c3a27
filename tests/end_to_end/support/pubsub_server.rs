//! A Pub/Sub server: the one of the testbed (`tests/testbed/pubsub`), or Google's emulator in Java, which has no hands
//! for faults, clock and records.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::fixtures::PushMessage;
use super::http::{send, try_send};
use super::testbed::testbed;
use super::wait::eventually;

/// Names the launcher of Google's emulator, `.../pubsub-emulator/bin/cloud-pubsub-emulator`.
pub const EMULATOR: &str = "PUSHROLL_PUBSUB_EMULATOR";
/// Topics and subscriptions are created in this project.
const PROJECT: &str = "projects/test-project";

/// A running server. Ends with this value, and with this program.
pub struct PubSubServer {
    /// `127.0.0.1:PORT`: gRPC, and REST.
    pub address: String,
    admin: Admin,
    process: Child,
    names: AtomicUsize,
}

/// Where topics are created and messages are published.
enum Admin {
    /// The HTTP API for tests, of the testbed's server.
    Testbed(String),
    /// The REST API of Pub/Sub itself.
    Emulator(String),
}

impl PubSubServer {
    /// The server of the testbed.
    pub async fn start() -> Self {
        let started = tokio::task::spawn_blocking(|| {
            let program =
                testbed().unwrap_or_else(|error| panic!("the testbed is not built: {error}")).join("pubsub-server");
            let mut process = Command::new(&program)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
            let mut line = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
            (process, line)
        });
        let (process, line) = started.await.unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let address = said["address"].as_str().unwrap().to_owned();
        let admin = Admin::Testbed(format!("http://{}", said["admin"].as_str().unwrap()));
        Self { address, admin, process, names: AtomicUsize::new(1) }
    }

    /// Google's emulator, where [`EMULATOR`] names it.
    pub async fn java_emulator() -> Self {
        let launcher = std::env::var_os(EMULATOR).unwrap_or_else(|| panic!("{EMULATOR} is not set"));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let process = emulator(&PathBuf::from(launcher), port);
        let url = format!("http://{address}");
        let server = Self { address, admin: Admin::Emulator(url.clone()), process, names: AtomicUsize::new(1) };
        eventually("the emulator answers", async || try_send(Method::GET, &url, &[], "").await.ok()).await;
        server
    }

    /// A new topic: its full name.
    pub async fn topic(&self) -> String {
        let name = self.new_name("topics");
        match &self.admin {
            Admin::Testbed(_) => self.admin(Method::POST, "topics", json!({"name": name})).await,
            Admin::Emulator(_) => self.admin(Method::PUT, &format!("v1/{name}"), json!({})).await,
        };
        name
    }

    /// A new subscription to this topic: its full name. `settings` are fields of a Subscription, such as
    /// `ackDeadlineSeconds` and [`dead_letter`].
    pub async fn subscription(&self, topic: &str, settings: Value) -> String {
        let name = self.new_name("subscriptions");
        self.create_subscription(&name, topic, settings).await;
        name
    }

    /// A subscription of this full name.
    pub async fn create_subscription(&self, name: &str, topic: &str, settings: Value) {
        let mut subscription = settings;
        subscription["name"] = json!(name);
        subscription["topic"] = json!(topic);
        match &self.admin {
            Admin::Testbed(_) => self.admin(Method::POST, "subscriptions", subscription).await,
            Admin::Emulator(_) => self.admin(Method::PUT, &format!("v1/{name}"), subscription).await,
        };
    }

    pub async fn delete_subscription(&self, name: &str) {
        match &self.admin {
            Admin::Testbed(_) => self.admin(Method::DELETE, "subscriptions", json!({"name": name})).await,
            Admin::Emulator(_) => self.admin(Method::DELETE, &format!("v1/{name}"), json!({})).await,
        };
    }

    /// Publishes what Artifact Registry says of a push. The server gives the message its ID.
    pub async fn publish(&self, topic: &str, message: &PushMessage) -> String {
        self.publish_all(topic, std::slice::from_ref(message)).await.remove(0)
    }

    pub async fn publish_all(&self, topic: &str, messages: &[PushMessage]) -> Vec<String> {
        self.publish_data(topic, messages.iter().map(|message| message.payload().to_string().into_bytes())).await
    }

    /// Publishes any data.
    pub async fn publish_raw(&self, topic: &str, data: impl Into<Vec<u8>>) -> String {
        self.publish_data(topic, [data.into()]).await.remove(0)
    }

    /// Publishes base64 data with these attributes. The testbed's server heeds some (`tests/testbed/pubsub/broker.go`):
    /// with `test-message-id` and `test-publish-time` it delivers the message under those, and with `test-once` not again
    /// when it is given back.
    pub async fn publish_with(&self, topic: &str, data: &str, attributes: Value) {
        let messages = json!([{"data": data, "attributes": attributes}]);
        self.admin(Method::POST, "publish", json!({"topic": topic, "messages": messages})).await;
    }

    async fn publish_data(&self, topic: &str, data: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
        let messages: Vec<Value> = data.into_iter().map(|data| json!({"data": STANDARD.encode(data)})).collect();
        let answer = match &self.admin {
            Admin::Testbed(_) => {
                self.admin(Method::POST, "publish", json!({"topic": topic, "messages": messages})).await
            }
            Admin::Emulator(_) => {
                self.admin(Method::POST, &format!("v1/{topic}:publish"), json!({"messages": messages})).await
            }
        };
        serde_json::from_value(answer["messageIds"].clone()).unwrap()
    }

    fn new_name(&self, collection: &str) -> String {
        format!("{PROJECT}/{collection}/test-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a request to the API for tests, which must succeed.
    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let (Admin::Testbed(url) | Admin::Emulator(url)) = &self.admin;
        let headers = [("content-type", "application/json")];
        let body = if method == Method::GET { String::new() } else { body.to_string() };
        let answer = send(method, &format!("{url}/{path}"), &headers, body).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }
}

/// What only the testbed's server can do.
impl PubSubServer {
    /// Each message: `id`, `topic`, `publishTime`, `data`, `deliveries`, `acks`, `given_back`, and `modacks` with
    /// `deadline_seconds` and `at`.
    pub async fn messages(&self) -> Vec<Value> {
        serde_json::from_value(self.admin(Method::GET, "messages", Value::Null).await).unwrap()
    }

    /// As [`Self::messages`], with the deliveries and so on of one subscription: a message that went to a dead-letter
    /// topic has more of them.
    pub async fn messages_of(&self, subscription: &str) -> Vec<Value> {
        let path = format!("messages?subscription={subscription}");
        serde_json::from_value(self.admin(Method::GET, &path, Value::Null).await).unwrap()
    }

    pub async fn clear_messages(&self) {
        self.admin(Method::DELETE, "messages", json!({})).await;
    }

    /// How many calls there were of each method; and `open_streams`, `max_unacknowledged` (of one stream, so far) and
    /// the last `authorization`.
    pub async fn calls(&self) -> Value {
        self.admin(Method::GET, "calls", Value::Null).await
    }

    /// From now on this method (`*`: each) fails with this status; with `HANG` it does not answer. A stream that is
    /// open goes on.
    pub async fn fault(&self, method: &str, code: &str, message: &str) {
        self.admin(Method::POST, "faults", json!({"method": method, "code": code, "message": message})).await;
    }

    /// From now on this method answers late.
    pub async fn delay(&self, method: &str, milliseconds: u64) {
        self.admin(Method::POST, "faults", json!({"method": method, "delay_ms": milliseconds})).await;
    }

    /// Calls that hang go on, too.
    pub async fn clear_faults(&self) {
        self.admin(Method::DELETE, "faults", json!({})).await;
    }

    /// Ends every open stream with this status; the real service does it with `OK` in normal life.
    pub async fn cut(&self, code: &str) {
        self.admin(Method::POST, "cut", json!({"code": code, "message": "cut by a test"})).await;
    }

    /// Closes every connection and refuses new ones.
    pub async fn stop(&self) {
        self.admin(Method::POST, "stop", json!({})).await;
    }

    /// Takes connections again, on the same port and with what it had.
    pub async fn start_again(&self) {
        self.admin(Method::POST, "start", json!({})).await;
    }

    /// Calls without this token fail with UNAUTHENTICATED; none is required if it is empty.
    pub async fn require_token(&self, token: &str) {
        self.admin(Method::POST, "token", json!({"required": token})).await;
    }

    /// The server's clock goes forward, so that leases expire. A message is lost when it is ten minutes old by it.
    pub async fn advance_clock(&self, seconds: u32) {
        self.admin(Method::POST, "clock", json!({"advance_seconds": seconds})).await;
    }
}

impl Drop for PubSubServer {
    fn drop(&mut self) {
        // The end of its input is the end of either server. It fails only for one that has ended.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Of a subscription: after so many deliveries a message goes to this topic.
pub fn dead_letter(topic: &str, attempts: u32) -> Value {
    json!({"deadLetterPolicy": {"deadLetterTopic": topic, "maxDeliveryAttempts": attempts}})
}

/// The emulator does not look at its input: the shell ends it.
fn emulator(launcher: &Path, port: u16) -> Child {
    Command::new("sh")
        .args(["-c", r#""$@" & cat >/dev/null; kill "$!"; wait"#, "emulator"])
        .arg(launcher)
        .args(["--host=127.0.0.1".to_owned(), format!("--port={port}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
