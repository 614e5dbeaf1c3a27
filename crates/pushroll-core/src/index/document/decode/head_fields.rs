//! The fields of a document's head, as far as they can be read.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::warnings::Warnings;
use crate::excerpt::excerpt;
use crate::index::document::head::{Head, PartAsOf, VERSION};
use crate::index::{Part, Scope};
use crate::workload::WorkloadKind;

/// How much of a value a warning quotes.
const EXCERPT_CHARACTERS: usize = 80;

/// What was read of the head so far.
#[derive(Debug, Default)]
pub(super) struct HeadFields {
    /// The highest.
    version: f64,
    as_of: Option<Timestamp>,
    scope: Option<Scope>,
    parts: Vec<PartAsOf>,
}

#[derive(Deserialize)]
struct RawPart {
    kind: WorkloadKind,
    namespace: Option<Box<str>>,
    as_of: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RawScope<'a> {
    #[serde(borrow, default)]
    namespaces: Option<Vec<&'a RawValue>>,
}

impl HeadFields {
    pub(super) fn set_version(&mut self, raw: &RawValue, warnings: &mut Warnings) {
        // Templates write numbers in quotes.
        match serde_json::from_str::<Option<f64>>(raw.get().trim_matches('"')) {
            Ok(version) => self.version = self.version.max(version.unwrap_or_default()),
            Err(_) => warnings.not_understood(|| format!("version is {}, not a number", quoted(raw))),
        }
    }

    pub(super) fn set_as_of(&mut self, raw: &RawValue, warnings: &mut Warnings) {
        self.as_of = serde_json::from_str(raw.get()).unwrap_or_else(|_| {
            warnings.left_out(|| format!("as_of is {}, not a time such as 2026-11-20T09:16:40Z", quoted(raw)));
            None
        });
    }

    pub(super) fn set_scope(&mut self, raw: &RawValue, warnings: &mut Warnings) {
        // A derived struct reads a list as well, field by field.
        let is_list = raw.get().starts_with('[');
        self.scope = match serde_json::from_str::<Option<RawScope<'_>>>(raw.get()) {
            Ok(scope) if !is_list => scope.map(|scope| scope.read(warnings)),
            Ok(_) | Err(_) => {
                warnings.left_out(|| format!("scope is {}, not an object with a list of namespaces", quoted(raw)));
                None
            }
        };
    }

    pub(super) fn set_parts(&mut self, raw: &RawValue, warnings: &mut Warnings) {
        let Ok(parts) = serde_json::from_str::<Option<Vec<&RawValue>>>(raw.get()) else {
            warnings.left_out(|| format!("parts is {}, not a list", quoted(raw)));
            self.parts = Vec::new();
            return;
        };
        let part = |raw: &RawValue| match serde_json::from_str(raw.get()) {
            // A derived struct reads a list as well, field by field.
            Ok(RawPart { kind, namespace, as_of }) if !raw.get().starts_with('[') => {
                Some(PartAsOf { part: Part { kind, namespace }, as_of })
            }
            Ok(_) | Err(_) => {
                warnings.left_out(|| format!("{} among the parts, which is no kind and namespace", quoted(raw)));
                None
            }
        };
        self.parts = parts.unwrap_or_default().into_iter().filter_map(part).collect();
    }

    /// The version, if it is one that this pushroll does not read.
    pub(super) fn newer_version(&self) -> Option<u64> {
        // As large as it gets where it is larger than that.
        (self.version > f64::from(VERSION)).then_some(self.version.ceil() as u64)
    }

    pub(super) fn into_head(self) -> Head {
        Head { as_of: self.as_of, scope: self.scope, parts: self.parts }
    }
}

impl RawScope<'_> {
    fn read(self, warnings: &mut Warnings) -> Scope {
        let Some(namespaces) = self.namespaces else { return Scope::AllNamespaces };
        let mut names = BTreeSet::new();
        for raw in namespaces {
            match serde_json::from_str(raw.get()) {
                Ok(name) => drop(names.insert(name)),
                Err(_) => warnings.left_out(|| format!("{} among the namespaces of scope", quoted(raw))),
            }
        }
        Scope::Namespaces(names)
    }
}

fn quoted(raw: &RawValue) -> String {
    excerpt(raw.get(), EXCERPT_CHARACTERS).replace(char::is_control, " ")
}
