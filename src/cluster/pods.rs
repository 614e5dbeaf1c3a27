//! Pods: LIST by a selector, page by page, and a PATCH of their annotations.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::pages::{PAGE_ITEMS, Page, PageQuery};
use super::request::{Call, Cluster};
use super::workload_object::{Controller, Volume, controller_of};
use crate::image::Digest;

/// A pod, without the fields that pushroll does not read.
#[derive(Debug, Clone, Deserialize)]
pub struct PodObject {
    /// `metadata`
    pub metadata: PodMetadata,
    /// `spec`
    pub spec: PodSpec,
    /// `status`, as its kubelet reports it.
    #[serde(default)]
    pub status: PodStatus,
}

/// `metadata` of a pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Its name.
    pub name: String,
    /// All its annotations, `restartedAt` among them: a controller copies them from the pod template.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it was created, by the API server's clock.
    #[serde(default)]
    pub creation_timestamp: Option<Timestamp>,
    /// Set while it is being deleted.
    #[serde(default)]
    pub deletion_timestamp: Option<Timestamp>,
    /// The controller that made it; an orphan has none.
    #[serde(default, rename = "ownerReferences", deserialize_with = "controller_of")]
    pub controller: Option<Controller>,
}

/// `spec` of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that it runs on; empty while it has none.
    #[serde(default)]
    pub node_name: String,
    /// The containers.
    #[serde(default)]
    pub containers: Vec<PodContainer>,
    /// The init containers, among them sidecars.
    #[serde(default)]
    pub init_containers: Vec<PodContainer>,
    /// The volumes, of which only image volumes are read.
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

/// A container of a pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodContainer {
    /// Its name, which its status has as well.
    #[serde(default)]
    pub name: String,
    /// The reference.
    #[serde(default)]
    pub image: String,
    /// `Always`, `IfNotPresent`, `Never`.
    #[serde(default)]
    pub image_pull_policy: String,
}

/// `status` of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// `Ready` and others.
    pub conditions: Vec<PodCondition>,
    /// Of the containers.
    pub container_statuses: Vec<ContainerStatus>,
    /// Of the init containers.
    pub init_container_statuses: Vec<ContainerStatus>,
}

/// A condition of a pod.
#[derive(Debug, Clone, Deserialize)]
pub struct PodCondition {
    /// Its name.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    #[serde(default)]
    pub status: String,
}

/// The status of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// What the runtime has pulled: `HOST/REPOSITORY@sha256:...`, or a local id; empty before the pull.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// Whether it passes its readiness probe.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: i64,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended the last time.
    pub last_state: ContainerState,
}

/// The state of a container: one of these, or none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It is not started yet, or again.
    pub waiting: Option<ContainerReason>,
    /// It has ended.
    pub terminated: Option<ContainerReason>,
}

/// Why a container waits, or has ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerReason {
    /// For programs, such as `ImagePullBackOff` or `OOMKilled`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Of a container that has ended.
    pub exit_code: i64,
}

impl PodObject {
    /// Whether it is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether it has finished or is being deleted.
    pub fn is_ending(&self) -> bool {
        self.is_deleted() || ["Succeeded", "Failed"].contains(&self.status.phase.as_str())
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }

    /// Whether it is not ready although each of its containers is. So it is where its node does not report any more.
    pub fn is_unready_though_it_runs(&self) -> bool {
        let statuses = &self.status.container_statuses;
        let ready = self.status.conditions.iter().find(|condition| condition.kind == "Ready");
        ready.is_some_and(|ready| ready.status != "True")
            && !statuses.is_empty()
            && statuses.iter().all(|status| status.ready)
    }

    /// Its containers and init containers, each with its status, if it has one.
    pub fn containers(&self) -> impl Iterator<Item = (&PodContainer, Option<&ContainerStatus>)> {
        let of = |container: &PodContainer, statuses: &'_ [ContainerStatus]| {
            statuses.iter().position(|status| status.name == container.name)
        };
        let containers = self.spec.containers.iter().map(move |container| {
            let statuses = &self.status.container_statuses;
            (container, of(container, statuses).and_then(|found| statuses.get(found)))
        });
        let init_containers = self.spec.init_containers.iter().map(move |container| {
            let statuses = &self.status.init_container_statuses;
            (container, of(container, statuses).and_then(|found| statuses.get(found)))
        });
        init_containers.chain(containers)
    }

    /// The references of its image volumes.
    pub fn image_volumes(&self) -> impl Iterator<Item = &str> {
        let images = self.spec.volumes.iter().filter_map(|volume| volume.image.as_ref());
        images.filter_map(|image| image.reference.as_deref())
    }
}

impl ContainerStatus {
    /// The digest of what the runtime has pulled. Another `imageID` than `HOST/REPOSITORY@sha256:...` is the id of a local
    /// image.
    pub fn digest(&self) -> Option<Digest> {
        self.image_id.rsplit_once('@')?.1.parse().ok()
    }
}

impl Cluster {
    /// A consistent LIST of the pods of a namespace that a label selector finds, in pages of at most `limit`, until
    /// `each` breaks.
    pub async fn list_pods(
        &self,
        namespace: &str,
        selector: &str,
        limit: usize,
        mut each: impl FnMut(PodObject) -> ControlFlow<()>,
    ) -> Result<(), ApiError> {
        let collection = format!("/api/v1/namespaces/{namespace}/pods");
        let query = PageQuery { selector: Some(selector), limit: limit.clamp(1, PAGE_ITEMS) };
        self.each_page(Resource::Pods, &collection, query, |page| {
            let Page { mut metadata, items } = serde_json::from_slice::<Page<PodObject>>(page)?;
            if items.into_iter().try_for_each(&mut each).is_break() {
                metadata.continue_ = None;
            }
            Ok(metadata)
        })
        .await
    }

    /// LIST of a single pod, to find out whether we are permitted to list them.
    pub async fn try_list_pods(&self, namespace: Option<&str>) -> Result<(), ApiError> {
        let uri = match namespace {
            None => "/api/v1/pods?limit=1".to_owned(),
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/pods?limit=1"),
        };
        self.call(Call { verb: Verb::List, resource: Resource::Pods, uri, body: None }).await.map(drop)
    }

    /// Sets an annotation of a pod.
    pub async fn annotate_pod(
        &self,
        namespace: &str,
        name: &str,
        field_manager: &str,
        (key, value): (&str, &str),
    ) -> Result<(), ApiError> {
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{name}?fieldManager={field_manager}");
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        self.call(Call { verb: Verb::Patch, resource: Resource::Pods, uri, body }).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_status_is_read_and_renamed_containers_have_none() {
        let pod = |status| {
            let object = serde_json::json!({"metadata": {"name": "web-1"}, "status": status,
                "spec": {"containers": [{"name": "web", "image": "web:1"}],
                    "initContainers": [{"name": "init", "image": "init:1"}]}});
            serde_json::from_value::<PodObject>(object).unwrap()
        };
        let found = |pod: &PodObject| -> Vec<(String, bool)> {
            pod.containers().map(|(container, status)| (container.image.clone(), status.is_some())).collect()
        };
        let none = [("init:1".to_owned(), false), ("web:1".to_owned(), false)];
        assert_eq!(found(&pod(json!({}))), none);
        assert_eq!(found(&pod(json!({"containerStatuses": [{"name": "renamed", "imageID": "a"}]}))), none);
        let init = pod(json!({"initContainerStatuses": [{"name": "init"}], "containerStatuses": [{"name": "init"}]}));
        assert_eq!(found(&init), [("init:1".to_owned(), true), ("web:1".to_owned(), false)]);
    }
}
