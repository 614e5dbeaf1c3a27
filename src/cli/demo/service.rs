//! The demo's service: the real one, over the embedded API and a projected mount in a temporary directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use embedded_kubernetes::{EmbeddedKubernetes, mount_config_map};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::{DIGEST, IMAGE, NAMESPACE, NAMESPACES, workloads};
use crate::cache::CacheArgs;
use crate::cache::configmap::CacheConfigMap;
use crate::cache::mount::MountReader;
use crate::cli::http_client::request;
use crate::clock::Clock;
use crate::rollout::WaitingArgs;
use crate::server::{DrainArgs, Listeners, ServeConfig, Shutdown, serve};

pub(super) const CACHE_CONFIG_MAP: &str = "deployment-image-cache";
/// The user that the service is to the API. The demo itself is another, so that their calls are counted apart.
const SERVICE_USER: &str = "pushroll";

/// The embedded cluster, its kubelet and, once started, the service.
pub(super) struct DemoService {
    kubernetes: EmbeddedKubernetes,
    mount: TempDir,
    end: CancellationToken,
    kubelet: JoinHandle<std::io::Result<()>>,
    service: Option<(Addresses, JoinHandle<anyhow::Result<()>>)>,
    published: Timestamp,
}

/// Where the service listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) public: SocketAddr,
    pub(super) internal: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// A push's answer.
pub(super) struct Pushed {
    pub(super) answer: Value,
    pub(super) took: Duration,
    /// `4 GET, 2 PATCH`
    pub(super) api_calls: String,
}

impl DemoService {
    /// The cluster with its workloads, and the kubelet that follows the ConfigMap. No service yet.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let kubernetes = EmbeddedKubernetes::new();
        let client = kubernetes.client();
        for namespace in NAMESPACES {
            create(&client, "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await?;
        }
        for workload in workloads() {
            create(&client, &workload.collection(), &workload.manifest()).await?;
        }
        let mount = tempfile::Builder::new().prefix("pushroll-demo-").tempdir().context("no temporary directory")?;
        let end = CancellationToken::new();
        let kubelet = tokio::spawn({
            let (kubernetes, directory, end) = (kubernetes.clone(), mount.path().to_owned(), end.clone());
            async move {
                let ended = end.cancelled_owned();
                mount_config_map(&kubernetes, NAMESPACE, CACHE_CONFIG_MAP, &directory, ended).await
            }
        });
        Ok(Self { kubernetes, mount, end, kubelet, service: None, published: Timestamp::now() })
    }

    /// Starts the service, on the ports it has by default where those are free.
    pub(super) async fn serve(&mut self) -> anyhow::Result<()> {
        let public = bind(8080).await?;
        let public_address = public.local_addr()?;
        let listeners = Listeners { public: Some(public), internal: bind(9090).await?, admin: bind(9091).await? };
        let addresses = Addresses {
            public: public_address,
            internal: listeners.internal.local_addr()?,
            admin: listeners.admin.local_addr()?,
        };
        let key = "cache.json".to_owned();
        let config_map =
            CacheConfigMap { namespace: NAMESPACE.to_owned(), name: CACHE_CONFIG_MAP.to_owned(), key: key.clone() };
        let short = Duration::from_millis(20);
        let config = ServeConfig {
            // The default interval spares an API server; this one has nothing else to do.
            cache: CacheArgs { mount_poll: short, rebuild_interval: short, ..CacheArgs::default() },
            drain: DrainArgs { drain_timeout: Duration::from_secs(5), ..DrainArgs::default() },
            waiting: WaitingArgs { deferred_poll: Duration::from_secs(1), ..WaitingArgs::default() },
            ..ServeConfig::new(None, config_map, MountReader::new(self.mount.path(), [key]))
        };
        let client = self.kubernetes.client_as(SERVICE_USER);
        let end = self.end.clone().cancelled_owned();
        let end = async move {
            end.await;
            Shutdown::AtOnce
        };
        let running = tokio::spawn(async move { Ok(serve(config, client, Clock::system(), listeners, end).await?) });
        self.service = Some((addresses, running));
        Ok(())
    }

    pub(super) fn address(&self) -> anyhow::Result<Addresses> {
        let service = self.service.as_ref();
        service.map(|(addresses, _)| *addresses).context("the demo's service was not started")
    }

    /// Ends the service and the kubelet, and removes the mount.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.end.cancel();
        if let Some((_, running)) = self.service {
            running.await.context("the demo's service ended badly")??;
        }
        self.kubelet
            .await
            .context("the demo's kubelet ended badly")?
            .context("the demo's mount could not be written")?;
        self.mount.close().context("the demo's mount could not be removed")
    }

    /// Waits until the service has written the ConfigMap. Returns the document.
    pub(super) async fn wait_for_config_map(&self) -> anyhow::Result<String> {
        let client = self.kubernetes.client();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{CACHE_CONFIG_MAP}");
        wait_until("the write of the ConfigMap", async || {
            let config_map = client.request::<Value>(get(&path)?).await.ok();
            Ok(config_map.and_then(|config_map| config_map["data"]["cache.json"].as_str().map(str::to_owned)))
        })
        .await
    }

    /// Each workload's generation: it rises by one with each rollout.
    pub(super) async fn generations(&self) -> anyhow::Result<Vec<(String, i64)>> {
        let client = self.kubernetes.client();
        let mut generations = Vec::new();
        for workload in workloads() {
            let object: Value = client.request(get(&format!("{}/{}", workload.collection(), workload.name))?).await?;
            let name = format!("{}/{}/{}", workload.namespace, workload.kind.lower_case(), workload.name);
            generations.push((name, object["metadata"]["generation"].as_i64().unwrap_or_default()));
        }
        Ok(generations)
    }

    /// Waits until the service's index comes from `tier`, or has come from it. Returns the status.
    pub(super) async fn wait_for_tier(&self, tier: &str) -> anyhow::Result<Value> {
        wait_until("the index", async || {
            let (status, _) = self.get("/v1/status").await?;
            Ok(status["tiers"][tier]["loaded_at"].is_string().then_some(status))
        })
        .await
    }

    /// A push of the demo's image, as Pub/Sub delivers it.
    pub(super) async fn push(&self, message_id: &str) -> anyhow::Result<Pushed> {
        let repository = IMAGE.rsplit_once(':').map_or(IMAGE, |(repository, _)| repository);
        let payload = json!({"action": "INSERT", "tag": IMAGE, "digest": format!("{repository}@{DIGEST}")});
        let body = json!({
            "message": {
                "data": STANDARD.encode(payload.to_string()),
                "messageId": message_id,
                "publishTime": format!("{:.3}", self.published),
            },
            "subscription": "projects/acme/subscriptions/pushroll",
        });
        let before = self.kubernetes.api_calls(SERVICE_USER).len();
        let begun = Instant::now();
        let uri = format!("http://{}/v1/push", self.address()?.public).parse()?;
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        let (_, answer) = request(Method::POST, &uri, &headers, body.to_string().into_bytes().into()).await?;
        let took = begun.elapsed();
        let mut counted = BTreeMap::new();
        for call in self.kubernetes.api_calls(SERVICE_USER).into_iter().skip(before) {
            *counted.entry(call.verb.to_uppercase()).or_insert(0) += 1;
        }
        let api_calls: Vec<_> = counted.into_iter().map(|(verb, n)| format!("{n} {verb}")).collect();
        Ok(Pushed { answer: parse(&answer)?, took, api_calls: api_calls.join(", ") })
    }

    /// A GET of the admin listener.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<(Value, Duration)> {
        let begun = Instant::now();
        let uri = format!("http://{}{path}", self.address()?.admin).parse()?;
        let (_, body) = request(Method::GET, &uri, &[], Bytes::new()).await?;
        Ok((parse(&body)?, begun.elapsed()))
    }
}

async fn create(client: &kube::Client, collection: &str, object: &Value) -> anyhow::Result<()> {
    let request = http::Request::post(collection).header("content-type", "application/json");
    let created: Value = client.request(request.body(object.to_string().into_bytes())?).await?;
    drop(created);
    Ok(())
}

fn get(path: &str) -> anyhow::Result<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

async fn bind(preferred: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", preferred)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await.context("no port is free on 127.0.0.1"),
    }
}

/// Waits until `condition` gives something, at most for `LIMIT`.
async fn wait_until<T>(what: &str, mut condition: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    const LIMIT: Duration = Duration::from_secs(30);
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        anyhow::ensure!(Instant::now() < deadline, "{what} did not happen within {LIMIT:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The JSON of a body.
fn parse(body: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(body).context("the demo's own service answered with something else than JSON")
}
