//! The document of what a scan has found.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::decode::Document;
use super::head::{Head, PartAsOf, VERSION};
use super::images::Images;
use crate::index::{Part, Scope};
use crate::workload::{WorkloadKind, WorkloadRef};

#[derive(Serialize)]
struct NewDocument<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<BTreeMap<&'a str, &'a BTreeSet<String>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<NewPart<'a>>,
    counts: BTreeMap<&'a str, usize>,
    #[serde(serialize_with = "each_image")]
    images: &'a Images,
}

#[derive(Serialize)]
struct NewPart<'a> {
    #[serde(flatten)]
    part: &'a Part,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
}

struct NewEntries<'a>(&'a [WorkloadRef]);

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
        let workloads: HashSet<&WorkloadRef> = images.workloads().iter().collect();
        let document = NewDocument {
            version: VERSION,
            as_of: head.as_of,
            scope: head.scope.as_ref().map(|scope| match scope {
                Scope::AllNamespaces => BTreeMap::new(),
                Scope::Namespaces(namespaces) => BTreeMap::from([("namespaces", namespaces)]),
            }),
            parts: head.parts.iter().map(|PartAsOf { part, as_of }| NewPart { part, as_of: *as_of }).collect(),
            counts: BTreeMap::from([("images", images.len()), ("workloads", workloads.len())]),
            images,
        };
        // Maps with string keys, strings and numbers: there is nothing in it that JSON cannot hold.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

/// One after the other: a document has thousands.
fn each_image<S: Serializer>(images: &&Images, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(images.iter().map(|(image, workloads)| (image, NewEntries(workloads))))
}

impl Serialize for NewEntries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(NewEntry::from))
    }
}

impl<'a> From<&'a WorkloadRef> for NewEntry<'a> {
    fn from(workload: &'a WorkloadRef) -> Self {
        let kind = (workload.kind != WorkloadKind::default()).then(|| workload.kind.as_str());
        Self { name: &workload.name, namespace: &workload.namespace, kind }
    }
}
