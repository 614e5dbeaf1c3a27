//! The document of what a scan has found.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::decode::Document;
use super::head::{Head, VERSION};
use super::images::Images;
use crate::index::Scope;
use crate::workload::{WorkloadKind, WorkloadRef};

#[derive(Serialize)]
struct NewDocument<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<NewScope<'a>>,
    counts: Counts,
    images: BTreeMap<&'a str, Vec<NewEntry<'a>>>,
}

#[derive(Serialize)]
struct NewScope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<&'a BTreeSet<String>>,
}

#[derive(Serialize)]
struct Counts {
    images: usize,
    workloads: usize,
}

#[derive(Serialize)]
struct NewEntry<'a> {
    name: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
}

impl Document {
    /// The document of what a scan has found, one line of JSON.
    pub fn encode(head: &Head, images: &Images) -> String {
        let workloads: BTreeSet<&WorkloadRef> = images.values().flatten().collect();
        let document = NewDocument {
            version: VERSION,
            as_of: head.as_of,
            scope: head.scope.as_ref().map(NewScope::from),
            counts: Counts { images: images.len(), workloads: workloads.len() },
            images: images
                .iter()
                .map(|(image, workloads)| (&**image, workloads.iter().map(NewEntry::from).collect()))
                .collect(),
        };
        // Maps with string keys, strings and numbers: there is nothing in it that JSON cannot hold.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

impl<'a> From<&'a Scope> for NewScope<'a> {
    fn from(scope: &'a Scope) -> Self {
        match scope {
            Scope::AllNamespaces => Self { namespaces: None },
            Scope::Namespaces(namespaces) => Self { namespaces: Some(namespaces) },
        }
    }
}

impl<'a> From<&'a WorkloadRef> for NewEntry<'a> {
    fn from(workload: &'a WorkloadRef) -> Self {
        let kind = (workload.kind != WorkloadKind::default()).then(|| workload.kind.as_str());
        Self { name: &workload.name, namespace: &workload.namespace, kind }
    }
}
