//! The metrics of the calls to the API server.

use std::fmt;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::workload::WorkloadKind;

/// How many calls are made, and how they end. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct ClusterMetrics {
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) calls_in_flight: Gauge,
    pub(super) calls_waiting: Gauge,
    pub(super) slow_writes: Gauge,
}

/// A call, and the status of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RequestLabels {
    pub(super) verb: Verb,
    pub(super) resource: Resource,
    /// The HTTP status, 0 where no answer came.
    pub(super) code: u16,
}

/// What a call does, by the name that Kubernetes' audit log has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection, followed by its changes.
    Watch,
    /// POST.
    Create,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// What a call is about, by its plural name in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    Deployments,
    StatefulSets,
    DaemonSets,
    ReplicaSets,
    CronJobs,
    Jobs,
    ConfigMaps,
    Pods,
    Leases,
    Events,
    SelfSubjectAccessReviews,
}

impl ClusterMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "kubernetes_requests",
            "Calls to the API server, by verb, resource and status (0: no answer)",
            self.requests.clone(),
        );
        registry.register(
            "kubernetes_calls_in_flight",
            "Calls to the API server that are being made now, watches apart; --concurrency at most",
            self.calls_in_flight.clone(),
        );
        registry.register(
            "kubernetes_calls_waiting",
            "Calls to the API server that wait now for their turn, or because it has asked for a pause",
            self.calls_waiting.clone(),
        );
        registry.register(
            "kubernetes_slow_writes",
            "Restarts that the API server, or an admission webhook of its, has been working on for more than 5 s",
            self.slow_writes.clone(),
        );
    }
}

impl Verb {
    /// As in the audit log and in `pushroll_kubernetes_requests_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    pub(super) fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Patch | Self::Delete)
    }
}

impl Resource {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deployments => "deployments",
            Self::StatefulSets => "statefulsets",
            Self::DaemonSets => "daemonsets",
            Self::ReplicaSets => "replicasets",
            Self::CronJobs => "cronjobs",
            Self::Jobs => "jobs",
            Self::ConfigMaps => "configmaps",
            Self::Pods => "pods",
            Self::Leases => "leases",
            Self::Events => "events",
            Self::SelfSubjectAccessReviews => "selfsubjectaccessreviews",
        }
    }
}

impl From<WorkloadKind> for Resource {
    fn from(kind: WorkloadKind) -> Self {
        match kind {
            WorkloadKind::Deployment => Self::Deployments,
            WorkloadKind::StatefulSet => Self::StatefulSets,
            WorkloadKind::DaemonSet => Self::DaemonSets,
        }
    }
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("verb", self.verb.as_str()).encode(encoder.encode_label())?;
        ("resource", self.resource.as_str()).encode(encoder.encode_label())?;
        ("code", self.code).encode(encoder.encode_label())
    }
}
