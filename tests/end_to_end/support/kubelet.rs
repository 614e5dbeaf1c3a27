//! A kubelet that the test plays: it decides what becomes of each pod's containers, on both grounds.
//!
//! It plays the pods of the workloads that [`Kubelet::deployment`] and its like make, in any namespace. A registry is in
//! it: [`Kubelet::push`] moves a tag, and a container that is created from then on pulls what the tag points to. Pull
//! policies hold: with `IfNotPresent` an image that one pod has pulled is on all nodes, and stays what it was.

mod registry;
mod status;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use embedded_kubernetes::Controllers;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::control_plane::PLAYED_BY_A_TEST;
use super::fixtures::{collection, daemon_set, deployment, digest, stateful_set};
use super::ground::Ground;
use registry::Registry;
pub use waits::image_id;

/// How many nodes there are, and so how many pods a DaemonSet has.
pub const NODES: usize = 3;

/// What becomes of a container whose image is on the node.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// It runs and is ready. An init container completes.
    Runs,
    /// It runs, and is not ready: a slow start.
    NotReady,
    /// It cannot be created, such as for `CreateContainerConfigError`: it has no `imageID`.
    CannotBeCreated { reason: String, message: String },
    /// It was created and cannot be started, such as for `RunContainerError`.
    CannotStart { reason: String, message: String },
    /// It has crashed this often, and waits to be started again.
    CrashLoop { restarts: i64 },
}

#[derive(Clone)]
pub struct Kubelet {
    ground: Ground,
    wishes: watch::Sender<Wishes>,
}

/// What the test has decided so far.
#[derive(Debug, Clone, Default)]
struct Wishes {
    registry: Registry,
    lives_of_digests: BTreeMap<String, Life>,
    lives_of_pods: BTreeMap<String, Life>,
    /// How often the containers of a pod were restarted, by the pod's name.
    restarts: BTreeMap<String, i64>,
    reported_ids: BTreeMap<String, String>,
    keeps_deleted_pods: bool,
}

impl Ground {
    /// Starts a kubelet, and with the embedded API the controllers, until the test ends. One for each test.
    pub async fn kubelet(&self) -> Kubelet {
        if !self.is_control_plane() {
            let kubernetes = self.embedded_kubernetes().clone();
            let nodes = (0..NODES).map(|number| format!("node-{number}"));
            let controllers = Controllers::new(nodes);
            tokio::spawn(async move { controllers.run(&kubernetes, std::future::pending()).await });
        }
        let wishes = watch::Sender::new(Wishes::default());
        let selector = format!("{PLAYED_BY_A_TEST}={}", self.namespace());
        tokio::spawn(play(self.client_as("admin").await, selector, wishes.clone()));
        Kubelet { ground: self.clone(), wishes }
    }
}

impl Kubelet {
    // --- Workloads whose pods it plays. ---

    pub fn deployment(&self, name: &str, image: &str, replicas: usize) -> Value {
        let mut workload = self.plays(deployment(self.ground.namespace(), name, image));
        workload["spec"]["replicas"] = json!(replicas);
        workload
    }

    pub fn stateful_set(&self, name: &str, image: &str, replicas: usize) -> Value {
        let mut workload = self.plays(stateful_set(self.ground.namespace(), name, image));
        workload["spec"]["replicas"] = json!(replicas);
        workload
    }

    /// With a pod on each of the [`NODES`].
    pub fn daemon_set(&self, name: &str, image: &str) -> Value {
        self.plays(daemon_set(self.ground.namespace(), name, image))
    }

    /// The manifest of a workload, made one whose pods this kubelet plays.
    pub fn plays(&self, mut workload: Value) -> Value {
        workload["spec"]["template"]["metadata"]["labels"][PLAYED_BY_A_TEST] = json!(self.ground.namespace());
        workload
    }

    // --- The registry. ---

    /// Moves a tag to [`digest`]`(byte)`.
    pub fn push(&self, image: &str, byte: u8) {
        self.wish(|wishes| wishes.registry.push(image, &digest(byte)));
    }

    /// From now on pulling this image fails, with this reason: `ErrImagePull`, `ImagePullBackOff`, `InvalidImageName`.
    /// [`Self::push`] ends it.
    pub fn refuse_pulls(&self, image: &str, reason: &str, message: &str) {
        self.wish(|wishes| wishes.registry.refuse(image, reason, message));
    }

    // --- What becomes of containers. At any time, also of containers that exist already. ---

    /// Of all containers with [`digest`]`(byte)`.
    pub fn digest_lives(&self, byte: u8, life: Life) {
        self.wish(|wishes| drop(wishes.lives_of_digests.insert(digest(byte), life)));
    }

    /// Of one pod's containers, whatever their digest. Init containers are not meant.
    pub fn pod_lives(&self, pod: &str, life: Life) {
        self.wish(|wishes| drop(wishes.lives_of_pods.insert(pod.to_owned(), life)));
    }

    /// The containers of a pod end and are started again: with `Always` they pull anew.
    pub fn restart_containers(&self, pod: &str) {
        self.wish(|wishes| *wishes.restarts.entry(pod.to_owned()).or_default() += 1);
    }

    /// Containers with [`digest`]`(byte)` report this `imageID`, and not `REPOSITORY@DIGEST`.
    pub fn report_image_id(&self, byte: u8, image_id: &str) {
        self.wish(|wishes| drop(wishes.reported_ids.insert(digest(byte), image_id.to_owned())));
    }

    /// Whether pods that are being deleted stay, as they do while they end.
    pub fn keep_deleted_pods(&self, keep: bool) {
        self.wish(|wishes| wishes.keeps_deleted_pods = keep);
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        self.wishes.send_modify(change);
    }
}

/// Looks at each pod that has changed, and at all of them when a wish has.
async fn play(client: kube::Client, selector: String, sender: watch::Sender<Wishes>) {
    // With a sender of its own it plays on when the test has dropped the kubelet.
    let mut wishes = sender.subscribe();
    let path = format!("/api/v1/pods?labelSelector={}", selector.replace('/', "%2F").replace('=', "%3D"));
    let pods: Api<Pod> = Api::all(client.clone());
    let parameters = WatchParams::default().labels(&selector);
    let mut nodes = status::Nodes::default();
    loop {
        let Ok(list) = request(&client, "GET", &path, None).await else {
            // The API server is away.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
        let Ok(changes) = pods.watch(&parameters, revision).await else { continue };
        let mut changes = pin!(changes.ready_chunks(1_000));
        let listed = list["items"].as_array().unwrap().iter();
        let mut known: BTreeMap<String, Value> = listed.map(|pod| (status::uid(pod).to_owned(), pod.clone())).collect();
        let mut changed: BTreeSet<String> = known.keys().cloned().collect();
        loop {
            let decided = wishes.borrow_and_update().clone();
            for pod in std::mem::take(&mut changed).iter().filter_map(|uid| known.get(uid)) {
                play_pod(&client, pod, &decided, &mut nodes).await;
            }
            if nodes.has_new_images() {
                // A pod that never pulls may have waited for one.
                changed = known.keys().cloned().collect();
                continue;
            }
            tokio::select! {
                wished = wishes.changed() => {
                    wished.unwrap();
                    changed = known.keys().cloned().collect();
                }
                events = changes.next() => {
                    let Some(Ok(events)) = events.map(|events| events.into_iter().collect::<Result<Vec<_>, _>>()) else {
                        break;
                    };
                    for event in events {
                        let (pod, exists) = match event {
                            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, true),
                            WatchEvent::Deleted(pod) => (pod, false),
                            _ => continue,
                        };
                        let pod = serde_json::to_value(pod).unwrap();
                        let uid = status::uid(&pod).to_owned();
                        if exists {
                            changed.insert(uid.clone());
                            known.insert(uid, pod);
                        } else {
                            known.remove(&uid);
                        }
                    }
                }
            }
        }
    }
}

async fn play_pod(client: &kube::Client, pod: &Value, wishes: &Wishes, nodes: &mut status::Nodes) {
    let metadata = &pod["metadata"];
    let listed = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
    let path = format!("{}/{}", collection(&listed), metadata["name"].as_str().unwrap());
    // A pod of the same name may be another by now: every call says which one it means. Whatever fails is seen again.
    if !metadata["deletionTimestamp"].is_null() {
        if !wishes.keeps_deleted_pods {
            let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}});
            let _ = request(client, "DELETE", &path, Some(options)).await;
        }
        return;
    }
    if !pod["spec"]["nodeName"].is_string() {
        return;
    }
    if let Some(status) = nodes.next_status(pod, wishes) {
        let patch = json!({"metadata": {"uid": metadata["uid"]}, "status": status});
        if request(client, "PATCH", &format!("{path}/status?fieldManager=kubelet"), Some(patch)).await.is_ok() {
            nodes.written(pod, status);
        }
    }
}

async fn request(client: &kube::Client, method: &str, path: &str, body: Option<Value>) -> kube::Result<Value> {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
    client.request(request.body(body.map_or_else(Vec::new, |body| body.to_string().into_bytes())).unwrap()).await
}
