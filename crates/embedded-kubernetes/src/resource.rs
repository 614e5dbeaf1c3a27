//! The kinds that are served, each a row of one table.

use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, coordination::v1 as coordination, core::v1 as core, events::v1 as events,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What tells one kind of object from another.
#[derive(Debug)]
pub(super) struct ResourceType {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    pub(super) generation: Generation,
    pub(super) has_status: bool,
    /// Whether a write may leave out `metadata.resourceVersion` (`AllowUnconditionalUpdate`).
    pub(super) unconditional_update: bool,
    /// Whether a PUT of what does not exist creates it (`AllowCreateOnUpdate`).
    pub(super) create_on_update: bool,
    /// Through the kind's own type and back: refuses wrong types, drops unknown fields and nulls.
    pub(super) decode: fn(Value) -> serde_json::Result<Value>,
}

/// What raises `metadata.generation` (`PrepareForUpdate` in `pkg/registry/*/*/strategy.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// The kind has no generation.
    Absent,
    /// A changed spec.
    Spec,
    /// A changed spec, or changed annotations of the object itself: a Deployment hands its own to
    /// its ReplicaSets.
    SpecOrAnnotations,
}

const WORKLOAD: ResourceType = ResourceType {
    group: "apps",
    version: "v1",
    plural: "",
    kind: "",
    namespaced: true,
    generation: Generation::Spec,
    has_status: true,
    unconditional_update: true,
    create_on_update: false,
    decode: through::<Value>,
};

const PLAIN: ResourceType = ResourceType { group: "", generation: Generation::Absent, has_status: false, ..WORKLOAD };

pub(super) static NAMESPACES: ResourceType = ResourceType {
    plural: "namespaces",
    kind: "Namespace",
    namespaced: false,
    has_status: true,
    decode: through::<core::Namespace>,
    ..PLAIN
};

pub(super) static CONFIG_MAPS: ResourceType =
    ResourceType { plural: "configmaps", kind: "ConfigMap", decode: through::<core::ConfigMap>, ..PLAIN };

pub(super) static DEPLOYMENTS: ResourceType = ResourceType {
    plural: "deployments",
    kind: "Deployment",
    generation: Generation::SpecOrAnnotations,
    decode: through::<apps::Deployment>,
    ..WORKLOAD
};

pub(super) static STATEFUL_SETS: ResourceType =
    ResourceType { plural: "statefulsets", kind: "StatefulSet", decode: through::<apps::StatefulSet>, ..WORKLOAD };

pub(super) static DAEMON_SETS: ResourceType =
    ResourceType { plural: "daemonsets", kind: "DaemonSet", decode: through::<apps::DaemonSet>, ..WORKLOAD };

pub(super) static REPLICA_SETS: ResourceType =
    ResourceType { plural: "replicasets", kind: "ReplicaSet", decode: through::<apps::ReplicaSet>, ..WORKLOAD };

static CRON_JOBS: ResourceType =
    ResourceType { group: "batch", plural: "cronjobs", kind: "CronJob", decode: through::<batch::CronJob>, ..WORKLOAD };

static JOBS: ResourceType =
    ResourceType { group: "batch", plural: "jobs", kind: "Job", decode: through::<batch::Job>, ..WORKLOAD };

pub(super) static PODS: ResourceType = ResourceType {
    plural: "pods",
    kind: "Pod",
    generation: Generation::Spec,
    has_status: true,
    decode: through::<core::Pod>,
    ..PLAIN
};

static EVENTS: ResourceType = ResourceType {
    group: "events.k8s.io",
    plural: "events",
    kind: "Event",
    create_on_update: true,
    decode: through::<events::Event>,
    ..PLAIN
};

/// Not served; what refusals of events speak of.
pub(super) static CORE_EVENTS: ResourceType = ResourceType { plural: "events", kind: "Event", ..PLAIN };

static LEASES: ResourceType = ResourceType {
    group: "coordination.k8s.io",
    plural: "leases",
    kind: "Lease",
    unconditional_update: false,
    create_on_update: true,
    decode: through::<coordination::Lease>,
    ..PLAIN
};

static ALL: [&ResourceType; 11] = [
    &DEPLOYMENTS,
    &STATEFUL_SETS,
    &DAEMON_SETS,
    &REPLICA_SETS,
    &CRON_JOBS,
    &JOBS,
    &CONFIG_MAPS,
    &NAMESPACES,
    &PODS,
    &EVENTS,
    &LEASES,
];

/// The kind behind a path.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static ResourceType> {
    ALL.into_iter().find(|one| one.group == group && one.version == version && one.plural == plural)
}

/// Whether anything is served under this group and version.
pub(super) fn is_served(group: &str, version: &str) -> bool {
    ALL.into_iter().any(|one| one.group == group && one.version == version)
}

/// The fields that identify an item of a list of objects (`listMapKeys` of the OpenAPI schema); the
/// first is the merge key of a strategic merge patch. `None`: the list is one value.
pub(super) fn list_map_keys(field: &str) -> Option<&'static [&'static str]> {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => {
            Some(&["name"])
        }
        "ports" => Some(&["containerPort", "protocol"]),
        "volumeMounts" => Some(&["mountPath"]),
        "volumeDevices" => Some(&["devicePath"]),
        "hostAliases" => Some(&["ip"]),
        "conditions" => Some(&["type"]),
        "ownerReferences" => Some(&["uid"]),
        _ => None,
    }
}

/// Maps that count as one value (`x-kubernetes-map-type: atomic`).
pub(super) fn is_atomic_map(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "labelSelector"
            | "nodeSelector"
            | "fieldRef"
            | "resourceFieldRef"
            | "configMapKeyRef"
            | "secretKeyRef"
            | "regarding"
            | "related"
            | "secretRef"
    )
}

fn through<T: DeserializeOwned + Serialize>(object: Value) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_value::<T>(object)?)
}

// === impl ResourceType ===

impl ResourceType {
    /// `apps/v1`, or `v1` for the core group.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, as most refusals name it.
    pub(super) fn qualified_plural(&self) -> String {
        qualified(self.plural, self.group)
    }

    /// `Deployment.apps`, as refusals of invalid objects name it.
    pub(super) fn qualified_kind(&self) -> String {
        qualified(self.kind, self.group)
    }

    /// Whether pods come of it for as long as it exists: Deployment, StatefulSet, DaemonSet, ReplicaSet.
    pub(super) fn is_workload(&self) -> bool {
        self.group == "apps"
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
