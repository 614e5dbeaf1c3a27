//! A part of a scope: what one LIST sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workload::{WorkloadKind, WorkloadRef};

/// The workloads of one kind, in one namespace or in all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// The kind.
    pub kind: WorkloadKind,
    /// `None`: all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Box<str>>,
}

impl Part {
    /// The workloads of a kind, in one namespace or in all.
    pub fn new(kind: WorkloadKind, namespace: Option<&str>) -> Self {
        Self { kind, namespace: namespace.map(Into::into) }
    }

    /// Whether a workload belongs to it.
    pub fn has(&self, workload: &WorkloadRef) -> bool {
        self.kind == workload.kind
            && self.namespace.as_deref().is_none_or(|namespace| *namespace == *workload.namespace)
    }

    /// Whether what was seen of this part is all there is to see of `other`.
    pub fn covers(&self, other: &Part) -> bool {
        self.kind == other.kind && (self.namespace.is_none() || self.namespace == other.namespace)
    }

    /// Whether a workload may belong to both.
    pub fn overlaps(&self, other: &Part) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// `deployments and daemonsets in the namespace shop, deployments in all namespaces`
    pub fn describe<'a>(parts: impl IntoIterator<Item = &'a Part>) -> String {
        let mut kinds: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
        for part in parts {
            kinds.entry(part.namespace.as_deref()).or_default().push(part.kind.plural());
        }
        let described = kinds.iter().map(|(namespace, kinds)| {
            let kinds = match kinds.split_last() {
                Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
                _ => kinds.concat(),
            };
            match namespace {
                Some(namespace) => format!("{kinds} in the namespace {namespace}"),
                None => format!("{kinds} in all namespaces"),
            }
        });
        described.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_described_by_namespace() {
        let part = |kind, namespace| Part::new(kind, namespace);
        let parts = [
            part(WorkloadKind::Deployment, Some("shop")),
            part(WorkloadKind::StatefulSet, Some("shop")),
            part(WorkloadKind::DaemonSet, Some("shop")),
            part(WorkloadKind::Deployment, Some("a")),
        ];
        let described =
            "deployments in the namespace a, deployments, statefulsets and daemonsets in the namespace shop";
        assert_eq!(Part::describe(&parts), described);
        assert_eq!(Part::describe(&[part(WorkloadKind::DaemonSet, None)]), "daemonsets in all namespaces");
    }

    #[test]
    fn a_part_of_all_namespaces_covers_each() {
        let (all, shop) =
            (Part::new(WorkloadKind::Deployment, None), Part::new(WorkloadKind::Deployment, Some("shop")));
        assert!(all.covers(&shop) && all.covers(&all) && shop.covers(&shop) && !shop.covers(&all));
        assert!(!Part::new(WorkloadKind::DaemonSet, None).covers(&shop));
        assert!(all.overlaps(&shop) && shop.overlaps(&all) && !shop.overlaps(&Part::new(shop.kind, Some("a"))));
        let web = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
        assert!(all.has(&web) && shop.has(&web) && !Part::new(WorkloadKind::DaemonSet, None).has(&web));
        assert!(!Part::new(WorkloadKind::Deployment, Some("a")).has(&web));
    }
}
