//! The workloads that pushroll restarts, by name.
//!
//! Pure: it must not know the network or the Kubernetes client; only Kubernetes' words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of workload that rolls its pods when its pod template changes (group `apps/v1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// The kind of an entry that names none, in the cache document.
    #[default]
    Deployment,
    /// Rolls one pod at a time, from the highest ordinal down.
    StatefulSet,
    /// One pod a node.
    DaemonSet,
}

/// One workload: `NAMESPACE/KIND/NAME`, the kind in lower case when shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: Box<str>,
}

/// Why a text names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no workload: expected NAMESPACE/KIND/NAME, KIND one of deployment, statefulset, daemonset")]
pub struct WorkloadRefError(String);

// === impl WorkloadKind ===

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [WorkloadKind; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// As Kubernetes writes it: `Deployment`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// In lower case, as people type it: `deployment`.
    pub fn lower_case(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    /// The resource's name in a URL: `deployments`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }
}

impl FromStr for WorkloadKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| text.eq_ignore_ascii_case(kind.as_str()) || text.eq_ignore_ascii_case(kind.plural()))
            .ok_or(())
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl WorkloadRef ===

impl WorkloadRef {
    /// The workload of that kind and name.
    pub fn new(namespace: impl Into<Box<str>>, kind: WorkloadKind, name: impl Into<Box<str>>) -> Self {
        Self { namespace: namespace.into(), kind, name: name.into() }
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.lower_case(), self.name)
    }
}

impl FromStr for WorkloadRef {
    type Err = WorkloadRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next().and_then(|kind| kind.parse().ok()), parts.next(), parts.next()) {
            (Some(namespace), Some(kind), Some(name), None) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::new(namespace, kind, name))
            }
            _ => Err(WorkloadRefError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_is_shown() {
        let workload = WorkloadRef::new("shop", WorkloadKind::StatefulSet, "db");
        assert_eq!(workload.to_string(), "shop/statefulset/db");
        assert_eq!("shop/StatefulSets/db".parse(), Ok(workload));
        for text in ["", "web", "shop/web", "shop/pod/web", "shop/deployment/", "/deployment/web", "a/deployment/b/c"] {
            assert!(text.parse::<WorkloadRef>().is_err(), "{text}");
        }
    }
}
