//! `cache.json`: the published form of the index, readable and writable by anyone.
//!
//! ```json
//! {"version": 1, "as_of": "2026-11-20T09:16:40Z", "scope": {"namespaces": ["shop"]},
//!  "counts": {"images": 1, "workloads": 1},
//!  "images": {"nginx:1.27": [{"name": "web", "namespace": "shop", "kind": "StatefulSet"}]}}
//! ```
//!
//! Only `images` is required; an entry without `kind` is a Deployment, a scope without `namespaces` the
//! whole cluster. Unknown fields are ignored. Keys are references as the workloads write them.
//!
//! Pure: bytes in, bytes out.

pub mod one_pass;
pub mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Index, IndexBuilder, Scope};
use crate::excerpt::excerpt;
use crate::image::ImageRef;
use crate::workload::{WorkloadKind, WorkloadRef, is_namespace_name, is_object_name};

/// The format that this version writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// What a document says of itself. All of it may be absent; without it a document proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// A time, by the API server's clock, before which nothing can have escaped the scan.
    pub as_of: Option<Timestamp>,
    /// What the scan has seen.
    pub scope: Option<Scope>,
}

/// A decoded document.
#[derive(Debug)]
pub struct Document {
    /// What it says of itself.
    pub head: Head,
    /// What it lists.
    pub index: Index,
    /// Entries that were left out, each with a sentence; at most [`WARNINGS_MAX`].
    pub warnings: Vec<String>,
}

/// How many warnings of one document are kept.
pub const WARNINGS_MAX: usize = 10;

/// How much of the JSON reader's words an error has.
const PROBLEM_CHARACTERS: usize = 200;
/// How much of a name or a kind a warning quotes.
const EXCERPT_CHARACTERS: usize = 80;

/// What a scan has found, in the order in which it is stored: reference as written to who runs it.
pub type Images = BTreeMap<Box<str>, BTreeSet<WorkloadRef>>;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Not JSON of the document's shape. The text is cut: serde_json quotes a value of the wrong type in full.
    #[error("not a cache document: {0}")]
    Malformed(String),
    /// The compressed form is damaged.
    #[error("its gzip form is damaged: {0}")]
    Gzip(#[source] std::io::Error),
    /// The compressed form is a bomb.
    #[error("its gzip form inflates to more than {limit} bytes")]
    Inflated {
        /// The limit.
        limit: u64,
    },
    /// Written by a newer pushroll.
    #[error(
        "its format is version {found}, newer than {VERSION}, the newest that this pushroll reads: upgrade pushroll"
    )]
    TooNew {
        /// The version it names.
        found: u32,
    },
}

#[derive(Deserialize)]
struct RawDocument<'a> {
    #[serde(default)]
    version: Option<u32>,
    #[serde(default)]
    as_of: Option<Timestamp>,
    #[serde(default)]
    scope: Option<RawScope>,
    #[serde(borrow)]
    images: BTreeMap<Text<'a>, Vec<RawEntry<'a>>>,
}

/// A key, borrowed where it holds no escapes, which serde does for a `Cow` only when told.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[derive(Serialize)]
struct NewDocument<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<RawScope>,
    counts: Counts,
    images: BTreeMap<&'a str, Vec<RawEntry<'a>>>,
}

#[derive(Serialize, Deserialize)]
struct RawScope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespaces: Option<BTreeSet<String>>,
}

#[derive(Serialize)]
struct Counts {
    images: usize,
    workloads: usize,
}

#[derive(Serialize, Deserialize)]
struct RawEntry<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    namespace: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    kind: Option<std::borrow::Cow<'a, str>>,
}

impl Document {
    /// Reads a document. An entry of an unknown kind, or with names that no workload can have, and a key that is no
    /// image reference are left out with a warning: a newer or hand-made document is still of use.
    ///
    /// # Errors
    /// [`DocumentError`] where nothing of it can be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let text = std::str::from_utf8(bytes).map_err(|error| DocumentError::NotUtf8(error.valid_up_to()))?;
        one_pass::decode(text).map_or_else(|| Self::decode_carefully(text), Ok)
    }

    fn decode_carefully(text: &str) -> Result<Self, DocumentError> {
        let raw: RawDocument<'_> = serde_json::from_str(text)
            .map_err(|error| DocumentError::Malformed(excerpt(&error.to_string(), PROBLEM_CHARACTERS)))?;
        if let Some(found) = raw.version.filter(|version| *version > VERSION) {
            return Err(DocumentError::TooNew { found });
        }
        let mut warnings = Vec::new();
        let mut warn = |warning: String| {
            if warnings.len() < WARNINGS_MAX {
                warnings.push(warning);
            }
        };
        let mut index = IndexBuilder::default();
        for (Text(reference), entries) in &raw.images {
            let image: ImageRef = match reference.parse() {
                Ok(image) => image,
                Err(error) => {
                    warn(format!("left out: {error}"));
                    continue;
                }
            };
            index.add(
                &image,
                entries.iter().filter_map(|entry| {
                    let workload = entry.workload();
                    if workload.is_none() {
                        warn(format!("left out: under {image}, {}", entry.problem()));
                    }
                    workload
                }),
            );
        }
        let head = Head { as_of: raw.as_of, scope: raw.scope.map(Scope::from) };
        Ok(Self { head, index: index.build(), warnings })
    }

    /// The document of what a scan has found, one line of JSON.
    pub fn encode(head: &Head, images: &Images) -> String {
        let workloads: BTreeSet<&WorkloadRef> = images.values().flatten().collect();
        let document = NewDocument {
            version: VERSION,
            as_of: head.as_of,
            scope: head.scope.as_ref().map(RawScope::from),
            counts: Counts { images: images.len(), workloads: workloads.len() },
            images: images
                .iter()
                .map(|(image, workloads)| (&**image, workloads.iter().map(RawEntry::from).collect()))
                .collect(),
        };
        // Maps with string keys, strings and numbers: there is nothing in it that JSON cannot hold.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// What a stored document lists, for comparing with what a scan has found; `None` where it cannot be read.
    pub fn images(bytes: &[u8]) -> Option<Images> {
        let raw: RawDocument<'_> = serde_json::from_slice(bytes).ok()?;
        raw.images
            .iter()
            .map(|(Text(image), entries)| {
                let workloads: Option<BTreeSet<_>> = entries.iter().map(RawEntry::workload).collect();
                Some((image.as_ref().into(), workloads?))
            })
            .collect()
    }
}

/// The index of what a scan has found. References that nothing can be matched by are left out.
pub fn index_of(images: &Images) -> Index {
    let mut index = IndexBuilder::with_capacity(images.len());
    for (reference, workloads) in images {
        // What is none is left out.
        let _ = index.add_written(reference, workloads.iter().cloned());
    }
    index.build()
}

impl RawEntry<'_> {
    fn kind(&self) -> Option<WorkloadKind> {
        self.kind.as_deref().map_or_else(|| Some(WorkloadKind::default()), |kind| kind.parse().ok())
    }

    /// What it names. A name that no workload can have is none: it would stand in the path of a request.
    fn workload(&self) -> Option<WorkloadRef> {
        let kind = self.kind()?;
        self.has_names().then(|| WorkloadRef::new(&*self.namespace, kind, &*self.name))
    }

    fn is_usable(&self) -> bool {
        self.kind().is_some() && self.has_names()
    }

    fn has_names(&self) -> bool {
        is_namespace_name(&self.namespace) && is_object_name(&self.name)
    }

    /// Why it names no workload.
    fn problem(&self) -> String {
        let of = |text: &str| excerpt(text, EXCERPT_CHARACTERS);
        let (namespace, name) = (of(&self.namespace), of(&self.name));
        match self.kind() {
            None => format!("{namespace}/{name} is of unknown kind {:?}", of(self.kind.as_deref().unwrap_or_default())),
            Some(_) => format!("no workload can be called {name:?} in a namespace {namespace:?}"),
        }
    }
}

impl<'a> From<&'a WorkloadRef> for RawEntry<'a> {
    fn from(workload: &'a WorkloadRef) -> Self {
        let kind = (workload.kind != WorkloadKind::default()).then(|| workload.kind.as_str().into());
        Self { name: (&*workload.name).into(), namespace: (&*workload.namespace).into(), kind }
    }
}

impl From<RawScope> for Scope {
    fn from(raw: RawScope) -> Self {
        raw.namespaces.map_or(Self::AllNamespaces, Self::Namespaces)
    }
}

impl From<&Scope> for RawScope {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::AllNamespaces => Self { namespaces: None },
            Scope::Namespaces(namespaces) => Self { namespaces: Some(namespaces.clone()) },
        }
    }
}
