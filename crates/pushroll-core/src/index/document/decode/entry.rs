//! One workload of a document, as far as it can be read.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess};

use super::any::{Any, Expect, Found, Key};
use crate::excerpt::excerpt;
use crate::workload::{WorkloadKind, is_namespace_name, is_object_name};

/// How much of a name or a kind a warning quotes.
const EXCERPT_CHARACTERS: usize = 80;

/// An entry.
#[derive(Debug)]
pub(super) enum Entry<'de> {
    Fields { name: Field<'de>, namespace: Field<'de>, kind: Field<'de> },
    Wrong(Found),
}

/// A field of an entry.
#[derive(Debug)]
pub(super) enum Field<'de> {
    /// Or `null`.
    Absent,
    Text(Cow<'de, str>),
    Wrong(Found),
}

/// Expects an entry.
pub(super) struct AnEntry;

/// Expects a field.
struct AField;

impl<'de> Expect<'de> for AnEntry {
    type Value = Entry<'de>;

    fn otherwise(self, found: Found) -> Entry<'de> {
        Entry::Wrong(found)
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Entry<'de>, A::Error> {
        let (mut name, mut namespace, mut kind) = (Field::Absent, Field::Absent, Field::Absent);
        while let Some(Key(field)) = object.next_key()? {
            match &*field {
                "name" => name = object.next_value_seed(Any(AField))?,
                "namespace" => namespace = object.next_value_seed(Any(AField))?,
                "kind" => kind = object.next_value_seed(Any(AField))?,
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Entry::Fields { name, namespace, kind })
    }
}

impl<'de> Expect<'de> for AField {
    type Value = Field<'de>;

    fn otherwise(self, found: Found) -> Field<'de> {
        if found == Found::Null { Field::Absent } else { Field::Wrong(found) }
    }

    fn text(self, text: Cow<'de, str>) -> Field<'de> {
        Field::Text(text)
    }
}

impl Entry<'_> {
    /// The workload that it names: namespace, kind, name. A name that no workload can have is none: it would stand in the
    /// path of a request.
    pub(super) fn workload(&self) -> Option<(&str, WorkloadKind, &str)> {
        let Self::Fields { name: Field::Text(name), namespace: Field::Text(namespace), kind } = self else {
            return None;
        };
        let kind = kind.kind()?;
        (is_namespace_name(namespace) && is_object_name(name)).then_some((namespace, kind, name))
    }

    /// Whether it is whole but for its kind, which is none that pushroll restarts.
    pub(super) fn is_of_another_kind(&self) -> bool {
        matches!(self, Self::Fields { name: Field::Text(_), namespace: Field::Text(_), kind: kind @ Field::Text(_) }
            if kind.kind().is_none())
    }

    /// Why it names no workload.
    pub(super) fn problem(&self) -> String {
        let (name, namespace, kind) = match self {
            Self::Wrong(found) => return format!("{found} in place of a workload"),
            Self::Fields { name, namespace, kind } => (name, namespace, kind),
        };
        let (Field::Text(name), Field::Text(namespace)) = (name, namespace) else {
            return match name {
                Field::Text(name) => format!("{:?} {}", cut(name), namespace.problem("namespace")),
                _ => format!("a workload {}", name.problem("name")),
            };
        };
        let (namespace, name) = (cut(namespace), cut(name));
        match kind {
            Field::Wrong(_) => format!("{namespace}/{name} {}", kind.problem("kind")),
            Field::Text(text) if kind.kind().is_none() => {
                format!("{namespace}/{name} is of unknown kind {:?}", cut(text))
            }
            Field::Text(_) | Field::Absent => {
                format!("no workload can be called {name:?} in a namespace {namespace:?}")
            }
        }
    }
}

impl Field<'_> {
    /// As a kind: one that is absent or empty is the default.
    fn kind(&self) -> Option<WorkloadKind> {
        match self {
            Self::Absent => Some(WorkloadKind::default()),
            Self::Text(text) if text.is_empty() => Some(WorkloadKind::default()),
            Self::Text(text) => text.parse().ok(),
            Self::Wrong(_) => None,
        }
    }

    fn problem(&self, field: &str) -> String {
        match self {
            Self::Absent => format!("has no {field}"),
            Self::Text(text) => format!("has the {field} {:?}", cut(text)),
            Self::Wrong(found) => format!("has {found} as its {field}"),
        }
    }
}

fn cut(text: &str) -> String {
    excerpt(text, EXCERPT_CHARACTERS)
}
