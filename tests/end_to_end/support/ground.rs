//! Where a test runs: a Kubernetes API of its own, or a namespace of its own on the shared control plane.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use embedded_kubernetes::ApiCall;
use embedded_kubernetes::EmbeddedKubernetes;
use flate2::read::GzDecoder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::control_plane::ControlPlane;
use super::fixtures::collection;
use super::pulled::is_entrance_of_all;

/// Looks and edits on behalf of the tests themselves; never counted.
const TESTER: &str = "admin";

#[derive(Clone)]
pub struct Ground {
    api: Api,
    directory: Arc<TempDir>,
    namespace: String,
    is_pulled: bool,
}

#[derive(Clone)]
enum Api {
    Embedded { kubernetes: EmbeddedKubernetes, url: String },
    ControlPlane(Arc<OnceLock<Result<ControlPlane, String>>>),
}

static NAMESPACES: AtomicUsize = AtomicUsize::new(1);

impl Ground {
    pub async fn embedded() -> Self {
        let kubernetes = EmbeddedKubernetes::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(kubernetes.clone().serve(listener, std::future::pending()));
        Self::new(Api::Embedded { kubernetes, url }).await
    }

    pub async fn control_plane(shared: Arc<OnceLock<Result<ControlPlane, String>>>) -> Self {
        Self::new(Api::ControlPlane(shared)).await
    }

    async fn new(api: Api) -> Self {
        let namespace = format!("test-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let ground = Self { api, directory, namespace, is_pulled: is_entrance_of_all() };
        ground.create_namespace(&ground.namespace).await;
        ground
    }

    /// The same, whose services pull what is pushed to them ([`super::pulled`]).
    pub fn pulled(self) -> Self {
        Self { is_pulled: true, ..self }
    }

    pub fn is_pulled(&self) -> bool {
        self.is_pulled
    }

    /// The test's own namespace: its workloads and the cache ConfigMap go there.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Another one, named after the first.
    pub async fn another_namespace(&self, suffix: &str) -> String {
        let name = format!("{}-{suffix}", self.namespace);
        self.create_namespace(&name).await;
        name
    }

    async fn create_namespace(&self, name: &str) {
        self.request("POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": name}}))).await.unwrap();
    }

    /// An image reference that no other test uses: the control plane is shared.
    pub fn image(&self, name: &str) -> String {
        format!("registry.example/{}/{name}:1", self.namespace)
    }

    /// A temporary directory of the test's own.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub fn is_control_plane(&self) -> bool {
        matches!(self.api, Api::ControlPlane(_))
    }

    /// The embedded API, for what only it can play.
    pub fn embedded_kubernetes(&self) -> &EmbeddedKubernetes {
        match &self.api {
            Api::Embedded { kubernetes, .. } => kubernetes,
            Api::ControlPlane(_) => panic!("this test runs on the embedded API alone"),
        }
    }

    /// The real control plane, for what only it has.
    pub fn real(&self) -> &ControlPlane {
        match &self.api {
            Api::ControlPlane(shared) => shared.get().unwrap().as_ref().unwrap(),
            Api::Embedded { .. } => panic!("this test runs on the control plane alone"),
        }
    }

    /// A user that nobody else is, permitted everything: the audit log tells its calls apart.
    pub fn fresh_user(&self) -> String {
        match &self.api {
            Api::Embedded { .. } => format!("user-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed)),
            Api::ControlPlane(_) => self.real().fresh_user(),
        }
    }

    /// A kubeconfig for a user, its default namespace the test's own.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        let Api::Embedded { url, .. } = &self.api else {
            return self.real().kubeconfig_in(user, &self.namespace);
        };
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": url}}],
            "users": [{"name": "it", "user": {"token": user}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": self.namespace}}],
        });
        let path = self.directory.path().join(format!("{user}.kubeconfig"));
        // Renamed into place: others may be reading it.
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
        file.persist(&path).unwrap();
        path
    }

    pub async fn client_as(&self, user: &str) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user)).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// What a user has asked the API server for so far, by the audit log.
    pub fn api_calls(&self, user: &str) -> Vec<ApiCall> {
        match &self.api {
            Api::Embedded { kubernetes, .. } => kubernetes.api_calls(user),
            Api::ControlPlane(_) => self.real().api_calls(user),
        }
    }

    // --- The tests' own hands: never counted, always permitted. ---

    /// Any request; the error is the API server's own.
    pub async fn request(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, kube::Error> {
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let client = self.client_as(TESTER).await;
        client.request(request.body(body).unwrap()).await
    }

    /// Creates a workload or a ConfigMap from its manifest.
    pub async fn create(&self, manifest: &Value) -> Value {
        self.request("POST", &format!("{}?fieldManager=test-creator", collection(manifest)), Some(manifest.clone()))
            .await
            .unwrap()
    }

    /// As [`Self::create`], where it may be refused.
    pub async fn try_create(&self, manifest: &Value) -> Result<Value, kube::Error> {
        self.request("POST", &collection(manifest), Some(manifest.clone())).await
    }

    /// The object of a manifest, as it is now.
    pub async fn get(&self, manifest: &Value) -> Value {
        self.request("GET", &object_path(manifest), None).await.unwrap()
    }

    pub async fn delete(&self, manifest: &Value) {
        self.request("DELETE", &object_path(manifest), None).await.unwrap();
    }

    /// A merge patch as `field_manager`.
    pub async fn patch(&self, manifest: &Value, field_manager: &str, patch: Value) -> Value {
        let path = format!("{}?fieldManager={field_manager}", object_path(manifest));
        self.request("PATCH", &path, Some(patch)).await.unwrap()
    }

    pub async fn generation(&self, manifest: &Value) -> i64 {
        self.get(manifest).await["metadata"]["generation"].as_i64().unwrap()
    }

    /// The cache ConfigMap's document, where there is one.
    pub async fn cache_document(&self) -> Option<Value> {
        let path = format!("/api/v1/namespaces/{}/configmaps/deployment-image-cache", self.namespace);
        self.cache_document_at(&path).await
    }

    /// The document of the cache ConfigMap at this path.
    pub async fn cache_document_at(&self, path: &str) -> Option<Value> {
        let config_map = self.request("GET", path, None).await.ok()?;
        if let Some(json) = config_map["data"]["cache.json"].as_str() {
            return serde_json::from_str(json).ok();
        }
        // The workloads of all tests that run meanwhile may be too many for the plain form.
        let compressed = STANDARD.decode(config_map["binaryData"]["cache.json.gz"].as_str()?).ok()?;
        serde_json::from_reader(GzDecoder::new(compressed.as_slice())).ok()
    }
}

/// Where the object of a manifest is.
pub fn object_path(manifest: &Value) -> String {
    format!("{}/{}", collection(manifest), manifest["metadata"]["name"].as_str().unwrap())
}
