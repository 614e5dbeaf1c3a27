//! A pod's status, as a kubelet writes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::registry::{NoImage, repository};
use super::{Life, Wishes};

/// What is on the nodes: images, and the pods with what their containers have pulled.
#[derive(Default)]
pub struct Nodes {
    images: BTreeMap<String, String>,
    /// The images that were there when [`Self::has_new_images`] was asked last.
    images_before: BTreeMap<String, String>,
    /// By the pod's UID, the container's name and how often it was restarted.
    pulled: BTreeMap<(String, String, i64), String>,
    /// The status of each pod that was written last, by its UID.
    statuses: BTreeMap<String, Value>,
}

/// How far a container is.
enum Container {
    Initializing,
    NoImage(NoImage),
    Lives { image_id: String, life: Life },
}

impl Nodes {
    /// The pod's status by the wishes; none where it is so already.
    pub fn next_status(&mut self, pod: &Value, wishes: &Wishes) -> Option<Value> {
        let before = self.statuses.get(uid(pod)).cloned().unwrap_or_default();
        let restarts = wishes.restarts.get(name(pod)).copied().unwrap_or_default();
        let mut is_initialized = true;
        let mut statuses = [Vec::new(), Vec::new()];
        for (list, statuses) in ["initContainers", "containers"].into_iter().zip(&mut statuses) {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let is_init = list == "initContainers";
                let state = match is_initialized {
                    true => self.container(pod, container, restarts, is_init, wishes),
                    false => Container::Initializing,
                };
                if is_init {
                    is_initialized &= matches!(&state, Container::Lives { life: Life::Runs, .. });
                }
                let ends = is_init && container["restartPolicy"] != "Always";
                statuses.push(container_status(pod, container, &state, restarts, ends, &before));
            }
        }
        let [init, main] = statuses;
        let is_pending = |status: &Value| status["state"]["waiting"].is_object() && status["lastState"] == json!({});
        let is_ready = is_initialized && main.iter().all(|status| status["ready"] == true);
        let phase = if !is_initialized || main.iter().any(is_pending) { "Pending" } else { "Running" };
        let conditions = [
            ("PodScheduled", true, ""),
            ("Initialized", is_initialized, "ContainersNotInitialized"),
            ("ContainersReady", is_ready, "ContainersNotReady"),
            ("Ready", is_ready, "ContainersNotReady"),
        ];
        let status = json!({
            "phase": phase,
            "startTime": kept(&before["startTime"]),
            "conditions": conditions.map(|(kind, holds, reason)| condition(kind, holds, reason, &before)),
            "initContainerStatuses": if init.is_empty() { Value::Null } else { json!(init) },
            "containerStatuses": main,
        });
        (status != before).then_some(status)
    }

    /// Whether an image has been pulled since this was asked last.
    pub fn has_new_images(&mut self) -> bool {
        let has_new = self.images != self.images_before;
        self.images_before.clone_from(&self.images);
        has_new
    }

    pub fn written(&mut self, pod: &Value, status: Value) {
        self.statuses.insert(uid(pod).to_owned(), status);
    }

    fn container(
        &mut self,
        pod: &Value,
        container: &Value,
        restarts: i64,
        is_init: bool,
        wishes: &Wishes,
    ) -> Container {
        let text = |key: &str| container[key].as_str().unwrap();
        let image = text("image");
        let instance = (uid(pod).to_owned(), text("name").to_owned(), restarts);
        let pulled = match self.pulled.get(&instance) {
            Some(digest) => Ok(digest.clone()),
            None => wishes.registry.pull(image, text("imagePullPolicy"), &mut self.images),
        };
        let digest = match pulled {
            Ok(digest) => digest,
            Err(no_image) => return Container::NoImage(no_image),
        };
        self.pulled.insert(instance, digest.clone());
        let of_pod = wishes.lives_of_pods.get(name(pod)).filter(|_| !is_init);
        let life = of_pod.or_else(|| wishes.lives_of_digests.get(&digest)).cloned().unwrap_or(Life::Runs);
        let reported = wishes.reported_ids.get(&digest).cloned();
        Container::Lives { image_id: reported.unwrap_or_else(|| format!("{}@{digest}", repository(image))), life }
    }
}

fn container_status(
    pod: &Value,
    container: &Value,
    state: &Container,
    restarts: i64,
    ends: bool,
    before: &Value,
) -> Value {
    let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
    let before = lists.filter_map(|list| before[list].as_array()).flatten();
    let before = before.into_iter().find(|status| status["name"] == container["name"]).cloned().unwrap_or_default();
    let mut status = json!({
        "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "started": false,
        "restartCount": restarts, "state": {}, "lastState": {},
    });
    let ended = |code: i64, reason: &str, before: &Value| {
        let (started, finished) = (&before["terminated"]["startedAt"], &before["terminated"]["finishedAt"]);
        json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": kept(started), "finishedAt": kept(finished)}})
    };
    let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    let (image_id, life) = match state {
        Container::Initializing => {
            status["state"] = json!({"waiting": {"reason": "PodInitializing"}});
            return status;
        }
        Container::NoImage(NoImage { reason, message }) => {
            status["state"] = waiting(reason, message);
            return status;
        }
        Container::Lives { image_id, life } => (image_id, life),
    };
    status["imageID"] = json!(image_id);
    if restarts > 0 {
        status["lastState"] = ended(1, "Error", &before["lastState"]);
    }
    match life {
        Life::Runs if ends => {
            status["ready"] = json!(true);
            status["state"] = ended(0, "Completed", &before["state"]);
        }
        Life::Runs | Life::NotReady => {
            let is_ready = *life == Life::Runs;
            status["ready"] = json!(is_ready);
            status["started"] = json!(true);
            let is_same = before["restartCount"] == restarts && before["imageID"] == **image_id;
            let started = if is_same { before["state"]["running"]["startedAt"].clone() } else { Value::Null };
            status["state"] = json!({"running": {"startedAt": kept(&started)}});
        }
        Life::CannotBeCreated { reason, message } => {
            status["imageID"] = json!("");
            status["state"] = waiting(reason, message);
        }
        Life::CannotStart { reason, message } => {
            status["state"] = waiting(reason, message);
            status["lastState"] = ended(128, "StartError", &before["lastState"]);
        }
        Life::CrashLoop { restarts: crashes } => {
            let message = format!(
                "back-off 5m0s restarting failed container={} pod={}_{}({})",
                container["name"].as_str().unwrap(),
                name(pod),
                pod["metadata"]["namespace"].as_str().unwrap(),
                uid(pod)
            );
            status["restartCount"] = json!(restarts + crashes);
            status["state"] = waiting("CrashLoopBackOff", &message);
            status["lastState"] = ended(1, "Error", &before["lastState"]);
        }
    }
    status
}

fn condition(kind: &str, holds: bool, reason: &str, before: &Value) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = before["conditions"].as_array().into_iter().flatten();
    let same = before.into_iter().find(|found| found["type"] == kind && found["status"] == status);
    let since = same.map_or(Value::Null, |found| found["lastTransitionTime"].clone());
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": kept(&since)});
    if !holds {
        condition["reason"] = json!(reason);
    }
    condition
}

/// A time that was written before, or now.
fn kept(time: &Value) -> Value {
    if time.is_string() { time.clone() } else { json!(format!("{:.0}", Timestamp::now())) }
}

pub fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap()
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}
