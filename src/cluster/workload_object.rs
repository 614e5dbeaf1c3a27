//! A workload, decoded to what a restart decision needs and no more. Pure: it makes no calls.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::workload_status::WorkloadStatus;
use crate::image::ImageRef;

/// The label of a workload whose rollout is followed. A change of labels raises no generation.
pub const FOLLOWING_LABEL: &str = "pushroll.dev/following";

/// A workload, as much of it as a restart decision looks at.
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
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
    #[serde(default, deserialize_with = "annotations_that_decide")]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// An entry of `metadata.managedFields` of the object itself (no subresource) that owns something in the pod template.
#[derive(Debug, Clone)]
pub struct ManagedFields {
    /// The field manager.
    pub manager: String,
    /// When this manager last changed anything, by the API server's clock.
    pub time: Option<Timestamp>,
    /// The keys of the pod template's annotations that it owns.
    pub template_annotations: Vec<String>,
}

/// `spec` of a workload. Fields that the kind does not have are at their default.
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
pub struct RollingUpdate {
    /// Pods with a lower ordinal are not updated.
    #[serde(default)]
    pub partition: Option<i64>,
}

/// `spec.template`.
#[derive(Debug, Clone, Deserialize)]
pub struct PodTemplate {
    /// Its annotations, among them `restartedAt` and our record.
    #[serde(default)]
    pub metadata: PodTemplateMetadata,
    /// Its containers and volumes.
    pub spec: PodSpec,
}

/// `spec.template.metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PodTemplateMetadata {
    /// The annotations that a decision reads. A change of one rolls the pods.
    #[serde(default, deserialize_with = "annotations_that_decide")]
    pub annotations: BTreeMap<String, String>,
}

/// `spec.template.spec`, owned or borrowed from the bytes of a LIST.
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<S = String> {
    /// The reference; may be absent where a mutating webhook fills it in.
    pub image: Option<S>,
    /// `Always`, `IfNotPresent`, `Never`.
    pub image_pull_policy: Option<S>,
}

/// A volume, which may be an image (`spec.volumes[].image`, KEP-4639).
#[derive(Debug, Clone, Deserialize)]
pub struct Volume<S = String> {
    /// Set for an image volume.
    pub image: Option<ImageVolume<S>>,
}

/// `spec.volumes[].image`.
#[derive(Debug, Clone, Deserialize)]
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

/// As in the API: `fieldsV1` is a tree whose keys are `f:` and a field's name (Kubernetes: structured-merge-diff,
/// `fieldpath/serialize.go`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManagedFields {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default)]
    fields_v1: FieldsOfObject,
}

#[derive(Default, Deserialize)]
struct FieldsOfObject {
    #[serde(default, rename = "f:spec")]
    spec: FieldsOfSpec,
}

#[derive(Default, Deserialize)]
struct FieldsOfSpec {
    #[serde(default, rename = "f:template")]
    template: Option<FieldsOfTemplate>,
}

#[derive(Deserialize)]
struct FieldsOfTemplate {
    #[serde(default, rename = "f:metadata")]
    metadata: FieldsOfMetadata,
}

#[derive(Default, Deserialize)]
struct FieldsOfMetadata {
    #[serde(default, rename = "f:annotations")]
    annotations: BTreeMap<String, IgnoredAny>,
}

fn selector_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    let selector = Selector::try_from(LabelSelector::deserialize(deserializer)?).map_err(D::Error::custom)?;
    Ok(selector.to_string().into())
}

pub(super) fn controller_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Controller>, D::Error> {
    let owners = Option::<Vec<Controller>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(owners.into_iter().find(|owner| owner.controller == Some(true)))
}

fn of_pod_template<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ManagedFields>, D::Error> {
    let entries = Vec::<RawManagedFields>::deserialize(deserializer)?;
    let of_object = entries.into_iter().filter(|entry| entry.subresource.is_empty());
    let of_template = of_object.filter_map(|entry| {
        let annotations = entry.fields_v1.spec.template?.metadata.annotations;
        let keys = annotations.keys().filter_map(|key| key.strip_prefix("f:").filter(|key| decides(key)));
        let keys = keys.map(str::to_owned);
        Some(ManagedFields { manager: entry.manager, time: entry.time, template_annotations: keys.collect() })
    });
    Ok(of_template.collect())
}

/// Whether a decision reads this annotation. Others may be as large as the object itself (`kubectl apply` keeps a copy of
/// it there), and a watch keeps thousands of objects.
fn decides(key: &str) -> bool {
    key.starts_with("pushroll.dev/") || key == "kubectl.kubernetes.io/restartedAt"
}

fn annotations_that_decide<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Annotations;
    impl<'de> Visitor<'de> for Annotations {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("annotations")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut kept = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if decides(&key) {
                    kept.insert(key, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(kept)
        }
    }
    deserializer.deserialize_map(Annotations)
}
