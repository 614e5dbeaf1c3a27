//! A workload, decoded to what a restart decision needs and no more. Pure: it makes no calls.
//!
//! It is decoded from the API's JSON, and from the encoding of the watch (`watched_object`), which is not human-readable
//! and has each field as it is here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::annotations::{annotations_that_decide, shorter};
pub use super::managed_fields::ManagedFields;
use super::managed_fields::of_pod_template;
use super::workload_status::WorkloadStatus;
use crate::image::ImageRef;

/// The label of a workload whose rollout is followed. A change of labels raises no generation.
pub const FOLLOWING_LABEL: &str = "pushroll.dev/following";

/// A workload, as much of it as a restart decision looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadObject {
    /// `metadata`
    pub metadata: WorkloadMetadata,
    /// `spec`
    pub spec: WorkloadSpec,
    /// Written by its controller, for `metadata.generation` or an earlier one.
    #[serde(default)]
    pub status: WorkloadStatus,
}

/// `metadata` of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadMetadata {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// The precondition of a PATCH.
    pub resource_version: String,
    /// Counts the changes of `spec`; of a Deployment, of its annotations as well.
    #[serde(default)]
    pub generation: i64,
    /// Tells an object from a later one of the same name.
    pub uid: String,
    /// Set while it is being deleted.
    #[serde(default)]
    pub deletion_timestamp: Option<Timestamp>,
    /// The workload's own annotations (not its pods') that a decision reads.
    #[serde(default, deserialize_with = "annotations_that_decide", serialize_with = "shorter")]
    pub annotations: BTreeMap<String, String>,
    /// The workload's own labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The owner whose controller made the workload, and may put its template back.
    #[serde(default, rename = "ownerReferences", deserialize_with = "controller_of")]
    pub controller: Option<Controller>,
    /// Who wrote which field of the pod template, and when.
    #[serde(default, deserialize_with = "of_pod_template")]
    pub managed_fields: Vec<ManagedFields>,
}

/// The entry of `metadata.ownerReferences` with `controller: true`; an object has one at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Its kind, such as `Kafka`.
    #[serde(default)]
    pub kind: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its uid.
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    controller: Option<bool>,
}

/// `spec` of a workload. Fields that the kind does not have are at their default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How its pods are found, as `kubectl -l` takes it.
    #[serde(default, deserialize_with = "selector_text")]
    pub selector: Box<str>,
    /// The template of its pods.
    pub template: PodTemplate,
}

/// `spec.updateStrategy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `RollingUpdate` or `OnDelete`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// With `RollingUpdate`.
    #[serde(default)]
    pub rolling_update: Option<RollingUpdate>,
}

/// `spec.updateStrategy.rollingUpdate` of a StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollingUpdate {
    /// Pods with a lower ordinal are not updated.
    #[serde(default)]
    pub partition: Option<i64>,
}

/// `spec.template`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTemplate {
    /// Its annotations, among them `restartedAt` and our record.
    #[serde(default)]
    pub metadata: PodTemplateMetadata,
    /// Its containers and volumes.
    pub spec: PodSpec,
}

/// `spec.template.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTemplateMetadata {
    /// The annotations that a decision reads. A change of one rolls the pods.
    #[serde(default, deserialize_with = "annotations_that_decide", serialize_with = "shorter")]
    pub annotations: BTreeMap<String, String>,
}

/// `spec.template.spec`, owned or borrowed from the bytes of a LIST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec<S = String> {
    /// The containers.
    #[serde(default = "Vec::new")]
    pub containers: Vec<Container<S>>,
    /// The init containers. Their images are pulled as well.
    #[serde(default = "Vec::new")]
    pub init_containers: Vec<Container<S>>,
    /// The volumes, of which only image volumes count.
    #[serde(default = "Vec::new")]
    pub volumes: Vec<Volume<S>>,
}

/// A container's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<S = String> {
    /// The reference; may be absent where a mutating webhook fills it in.
    pub image: Option<S>,
    /// `Always`, `IfNotPresent`, `Never`.
    pub image_pull_policy: Option<S>,
}

/// A volume, which may be an image (`spec.volumes[].image`, KEP-4639).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume<S = String> {
    /// Set for an image volume.
    pub image: Option<ImageVolume<S>>,
}

/// `spec.volumes[].image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl WorkloadObject {
    /// The value of [`FOLLOWING_LABEL`].
    pub fn following(&self) -> Option<&str> {
        self.metadata.labels.get(FOLLOWING_LABEL).map(String::as_str)
    }
}

impl TemplateImage<'_> {
    /// Whether it follows the tag of `image`. An image that is pinned by digest follows none.
    pub fn follows(&self, image: &ImageRef) -> bool {
        self.image.parse::<ImageRef>().is_ok_and(|own| own.tag_key().is_some() && own.tag_key() == image.tag_key())
    }
}

impl<S: AsRef<str>> PodSpec<S> {
    /// Whether it follows the tag of the image that has this normalised reference.
    pub fn follows(&self, tag_key: &str) -> bool {
        self.images().any(|own| own.image.parse::<ImageRef>().is_ok_and(|own| own.tag_key() == Some(tag_key)))
    }

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

fn selector_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    if !deserializer.is_human_readable() {
        return Box::deserialize(deserializer);
    }
    let selector = Selector::try_from(LabelSelector::deserialize(deserializer)?).map_err(D::Error::custom)?;
    Ok(selector.to_string().into())
}

pub(super) fn controller_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Controller>, D::Error> {
    if !deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    let owners = Option::<Vec<Controller>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(owners.into_iter().find(|owner| owner.controller == Some(true)))
}
