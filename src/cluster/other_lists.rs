//! LIST of what runs images without being restarted by pushroll: CronJobs, Jobs and ReplicaSets.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ApiError;
use super::metrics::Resource;
use super::pages::{Page, PageQuery};
use super::request::Cluster;
use super::workload_object::{Controller, PodSpec, TemplateImage, controller_of};
use super::workloads::{Spec, Template};

/// A kind that runs images and is not restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherKind {
    /// `batch/v1`
    CronJob,
    /// `batch/v1`
    Job,
    /// `apps/v1`
    ReplicaSet,
}

/// An object of such a kind.
#[derive(Debug, Deserialize)]
pub struct OtherObject {
    metadata: Metadata,
    spec: AnySpec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default, rename = "ownerReferences", deserialize_with = "controller_of")]
    controller: Option<Controller>,
}

/// `spec` of each of the kinds; fields that a kind does not have are absent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnySpec {
    #[serde(default)]
    suspend: bool,
    #[serde(default)]
    replicas: Option<i64>,
    #[serde(default)]
    template: Option<Spec<PodSpec>>,
    #[serde(default)]
    job_template: Option<Spec<Template<Spec<PodSpec>>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl OtherKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CronJob, Self::Job, Self::ReplicaSet];

    /// As in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CronJob => "CronJob",
            Self::Job => "Job",
            Self::ReplicaSet => "ReplicaSet",
        }
    }

    fn collection(self, namespace: Option<&str>) -> String {
        let (group, plural) = match self {
            Self::CronJob => ("batch", "cronjobs"),
            Self::Job => ("batch", "jobs"),
            Self::ReplicaSet => ("apps", "replicasets"),
        };
        match namespace {
            None => format!("/apis/{group}/v1/{plural}"),
            Some(namespace) => format!("/apis/{group}/v1/namespaces/{namespace}/{plural}"),
        }
    }
}

impl OtherObject {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    /// The controller that made it, if any.
    pub fn controller(&self) -> Option<&Controller> {
        self.metadata.controller.as_ref()
    }

    /// Whether it makes no pods for now.
    pub fn is_suspended(&self) -> bool {
        self.spec.suspend
    }

    /// Whether it has no replicas; a kind without replicas has some.
    pub fn has_no_replicas(&self) -> bool {
        self.spec.replicas == Some(0)
    }

    /// Whether it will make no pod again: a Job at its end, and anything that is being deleted.
    pub fn has_ended(&self) -> bool {
        let is_end = |condition: &Condition| {
            ["Complete", "Failed"].contains(&condition.kind.as_str()) && condition.status == "True"
        };
        self.metadata.deletion_timestamp.is_some() || self.status.conditions.iter().any(is_end)
    }

    /// Every image that its pods pull.
    pub fn images(&self) -> impl Iterator<Item = TemplateImage<'_>> {
        let of_jobs = self.spec.job_template.as_ref().map(|jobs| &jobs.spec.template);
        self.spec.template.as_ref().or(of_jobs).into_iter().flat_map(|template| template.spec.images())
    }
}

impl Cluster {
    /// A LIST of a kind, in one namespace or in all. `each` is called for every object; what it returns is collected.
    pub async fn list_others<T>(
        &self,
        kind: OtherKind,
        namespace: Option<&str>,
        each: impl Fn(OtherObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        let mut found = Vec::new();
        self.each_page(kind.into(), &kind.collection(namespace), PageQuery::ALL, |page| {
            let page: Page<OtherObject> = serde_json::from_slice(page)?;
            found.extend(page.items.into_iter().filter_map(&each));
            Ok(page.metadata)
        })
        .await?;
        Ok(found)
    }
}

impl From<OtherKind> for Resource {
    fn from(kind: OtherKind) -> Self {
        match kind {
            OtherKind::CronJob => Self::CronJobs,
            OtherKind::Job => Self::Jobs,
            OtherKind::ReplicaSet => Self::ReplicaSets,
        }
    }
}
