//! The workloads that pushroll restarts, by name.
//!
//! Pure: it must not know the network or the Kubernetes client; only Kubernetes' words.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::excerpt::{QUOTED_CHARACTERS, excerpt};

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

/// One workload: `NAMESPACE/KIND/NAME`, the kind in lower case when shown. Its clones share the memory of its names: an
/// index and a watch have the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: Arc<str>,
}

/// Why a text names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no workload: {problem}; expected NAMESPACE/KIND/NAME, KIND one of deployment, statefulset, daemonset"
)]
pub struct WorkloadRefError {
    text: String,
    problem: &'static str,
}

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

    /// As people abbreviate it: `deploy` (Kubernetes: `kubectl api-resources`).
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
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

    /// Every spelling that kubectl knows or prints: `Deployment`, `deployments`, `deploy`, `deployment.apps`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix(".apps").unwrap_or(text);
        let is_called = |kind: &Self| {
            [kind.as_str(), kind.plural(), kind.short_name()].iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        Self::ALL.into_iter().find(is_called).ok_or(())
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
    pub fn new(namespace: impl Into<Arc<str>>, kind: WorkloadKind, name: impl Into<Arc<str>>) -> Self {
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
        let refused = |problem| WorkloadRefError { text: excerpt(text, QUOTED_CHARACTERS), problem };
        let parts: Vec<&str> = text.split('/').collect();
        let [namespace, kind, name] = parts[..] else { return Err(refused("it has not three parts")) };
        let kind = kind.parse().map_err(|()| refused("its kind is unknown"))?;
        if !is_namespace_name(namespace) {
            return Err(refused("its namespace is no name of one"));
        }
        if !is_object_name(name) {
            return Err(refused("its name has other characters than lower-case letters, digits, - and ."));
        }
        Ok(Self::new(namespace, kind, name))
    }
}

/// Whether a namespace can be called that: an RFC 1123 label.
pub fn is_namespace_name(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_object_name(text)
}

/// Whether a workload, a ConfigMap or most other objects can be called that: an RFC 1123 subdomain.
pub fn is_object_name(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_is_shown() {
        let workload = WorkloadRef::new("shop", WorkloadKind::StatefulSet, "db");
        assert_eq!(workload.to_string(), "shop/statefulset/db");
        for kind in ["statefulset", "StatefulSet", "StatefulSets", "sts", "statefulset.apps", "statefulsets.apps"] {
            assert_eq!(format!("shop/{kind}/db").parse(), Ok(workload.clone()), "{kind}");
        }
        for text in ["", "web", "shop/web", "shop/pod/web", "shop/deployment/", "/deployment/web", "a/deployment/b/c"] {
            assert!(text.parse::<WorkloadRef>().is_err(), "{text}");
        }
        for text in ["a b/ds/c", "a/ds/c?d", "a/ds/..", "a/ds/C", "a.b/ds/c", "a/ds/-c", "a/apps/c", "a/ds.batch/c"] {
            assert!(text.parse::<WorkloadRef>().is_err(), "{text}");
        }
    }
}
