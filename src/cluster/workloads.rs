//! One workload through the API: GET and PATCH, decoded to what a decision needs and no more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::request::{Call, Cluster};
use crate::workload::WorkloadRef;

/// A workload, as much of it as a restart decision looks at.
#[derive(Debug, Deserialize)]
pub struct WorkloadObject {
    /// `metadata`
    pub metadata: WorkloadMetadata,
    /// `spec`
    pub spec: WorkloadSpec,
}

/// `metadata` of a workload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadMetadata {
    /// The precondition of a PATCH.
    pub resource_version: String,
    /// Tells an object from a later one of the same name.
    pub uid: String,
    /// Set while it is being deleted.
    #[serde(default)]
    pub deletion_timestamp: Option<Timestamp>,
    /// The workload's own annotations, not its pods'.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The workload's own labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Who wrote which field, and when.
    #[serde(default)]
    pub managed_fields: Vec<ManagedFields>,
}

/// One entry of `metadata.managedFields`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedFields {
    /// The field manager.
    #[serde(default)]
    pub manager: String,
    /// `status`, `scale`, or empty for the object itself.
    #[serde(default)]
    pub subresource: String,
    /// The API server's clock, renewed by whatever this manager changes.
    #[serde(default)]
    pub time: Option<Timestamp>,
    /// FieldsV1, parsed only where a decision needs it.
    #[serde(default)]
    pub fields_v1: Option<Box<RawValue>>,
}

/// `spec` of a workload; what a kind does not have is at its default.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Deployment only.
    #[serde(default)]
    pub paused: bool,
    /// Absent on a DaemonSet.
    #[serde(default)]
    pub replicas: Option<i64>,
    /// StatefulSet and DaemonSet.
    #[serde(default)]
    pub update_strategy: Option<UpdateStrategy>,
    /// What its pods are made from.
    pub template: PodTemplate,
}

/// `spec.updateStrategy`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `RollingUpdate` or `OnDelete`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Where `RollingUpdate`.
    #[serde(default)]
    pub rolling_update: Option<RollingUpdate>,
}

/// `spec.updateStrategy.rollingUpdate` of a StatefulSet.
#[derive(Debug, Deserialize)]
pub struct RollingUpdate {
    /// Pods with a lower ordinal are not updated.
    #[serde(default)]
    pub partition: Option<i64>,
}

/// `spec.template`.
#[derive(Debug, Deserialize)]
pub struct PodTemplate {
    /// Its annotations: where `restartedAt` and our record stand.
    #[serde(default)]
    pub metadata: PodTemplateMetadata,
    /// Its containers and volumes.
    pub spec: PodSpec,
}

/// `spec.template.metadata`.
#[derive(Debug, Default, Deserialize)]
pub struct PodTemplateMetadata {
    /// A change of these rolls the pods.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// `spec.template.spec`, owned or borrowed from the bytes of a LIST.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec<S = String> {
    /// The containers.
    #[serde(default = "Vec::new")]
    pub containers: Vec<Container<S>>,
    /// Those that run before; their images are pulled as well.
    #[serde(default = "Vec::new")]
    pub init_containers: Vec<Container<S>>,
    /// Of these only image volumes count.
    #[serde(default = "Vec::new")]
    pub volumes: Vec<Volume<S>>,
}

/// A container, as far as its image goes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<S = String> {
    /// The reference; may be absent where a mutating webhook fills it in.
    pub image: Option<S>,
    /// `Always`, `IfNotPresent`, `Never`.
    pub image_pull_policy: Option<S>,
}

/// A volume, as far as it is an image (`spec.volumes[].image`, KEP-4639).
#[derive(Debug, Deserialize)]
pub struct Volume<S = String> {
    /// Set for an image volume.
    pub image: Option<ImageVolume<S>>,
}

/// `spec.volumes[].image`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageVolume<S = String> {
    /// The reference.
    pub reference: Option<S>,
    /// `Always`, `IfNotPresent`, `Never`.
    pub pull_policy: Option<S>,
}

/// An image of a pod template and when it is pulled.
#[derive(Debug, Clone, Copy)]
pub struct TemplateImage<'a> {
    /// The reference as written.
    pub image: &'a str,
    /// `Always`, `IfNotPresent`, `Never`.
    pub pull_policy: Option<&'a str>,
}

impl<S: AsRef<str>> PodSpec<S> {
    /// Every image that its pods pull.
    pub fn images(&self) -> impl Iterator<Item = TemplateImage<'_>> {
        let containers = self.containers.iter().chain(&self.init_containers);
        let of_containers = containers.map(|c| (&c.image, &c.image_pull_policy));
        let of_volumes = self.volumes.iter().filter_map(|v| v.image.as_ref()).map(|i| (&i.reference, &i.pull_policy));
        of_containers.chain(of_volumes).filter_map(|(image, policy)| {
            let image = image.as_ref()?.as_ref();
            Some(TemplateImage { image, pull_policy: policy.as_ref().map(AsRef::as_ref) })
        })
    }
}

impl Cluster {
    /// GET of one workload.
    pub async fn get_workload(&self, workload: &WorkloadRef) -> Result<WorkloadObject, ApiError> {
        self.get_workload_as(workload).await
    }

    /// GET of one workload, decoded to what the caller needs of it.
    pub(super) async fn get_workload_as<T: DeserializeOwned>(&self, workload: &WorkloadRef) -> Result<T, ApiError> {
        let body =
            self.call(Call { verb: "get", resource: workload.kind.plural(), uri: path(workload), body: None }).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Unreadable(error.to_string()))
    }

    /// Merge patch of one workload, as `field_manager`.
    pub async fn patch_workload(
        &self,
        workload: &WorkloadRef,
        field_manager: &'static str,
        patch: &serde_json::Value,
    ) -> Result<(), ApiError> {
        let uri = format!("{}?fieldManager={field_manager}", path(workload));
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        self.call(Call { verb: "patch", resource: workload.kind.plural(), uri, body }).await.map(drop)
    }
}

fn path(workload: &WorkloadRef) -> String {
    format!("/apis/apps/v1/namespaces/{}/{}/{}", workload.namespace, workload.kind.plural(), workload.name)
}
