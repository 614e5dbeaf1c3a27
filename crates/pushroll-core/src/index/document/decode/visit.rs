//! One pass over a document.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::any::{Any, Expect, Found, Key};
use super::collect::Collect;
use super::entry::{AnEntry, Entry};
use super::head_fields::HeadFields;
use super::warnings::Warnings;
use crate::excerpt::excerpt;
use crate::workload::WorkloadRef;

/// How much of a key a warning quotes: all of one that is an image reference.
const KEY_CHARACTERS: usize = 700;

/// What was read of a document.
pub(super) struct Read<C> {
    pub(super) head: HeadFields,
    pub(super) collected: C,
    pub(super) warnings: Warnings,
}

/// Reads a document.
pub(super) struct DocumentOf<C> {
    pub(super) collect: C,
    /// Each value is taken out of the document before it is read, so that it cannot end the pass.
    pub(super) one_by_one: bool,
}

/// Expects the value of `images`.
struct Images<'r, C> {
    read: &'r mut Read<C>,
    one_by_one: bool,
}

/// Expects the workloads of one image: all are looked at, and kept where they are wanted.
struct Workloads<'r> {
    reference: &'r str,
    wanted: Option<&'r mut Vec<WorkloadRef>>,
    warnings: &'r mut Warnings,
    one_by_one: bool,
}

impl<'de, C: Collect<'de>> DeserializeSeed<'de> for DocumentOf<C> {
    type Value = Read<C>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, C: Collect<'de>> Visitor<'de> for DocumentOf<C> {
    type Value = Read<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<C>, A::Error> {
        let Self { collect, one_by_one } = self;
        let mut read = Read { head: HeadFields::default(), collected: collect, warnings: Warnings::default() };
        let mut has_images = false;
        while let Some(Key(field)) = map.next_key()? {
            match &*field {
                "version" => read.head.set_version(map.next_value()?, &mut read.warnings),
                "as_of" => read.head.set_as_of(map.next_value()?, &mut read.warnings),
                "scope" => read.head.set_scope(map.next_value()?, &mut read.warnings),
                "parts" => read.head.set_parts(map.next_value()?, &mut read.warnings),
                "images" => {
                    has_images = true;
                    map.next_value_seed(Any(Images { read: &mut read, one_by_one }))?.map_err(|found| {
                        A::Error::custom(format_args!("invalid type: `images` is {found}, not an object"))
                    })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let is_read = has_images || read.head.newer_version().is_some();
        if is_read { Ok(read) } else { Err(A::Error::missing_field("images")) }
    }
}

impl<'de, C: Collect<'de>> Expect<'de> for Images<'_, C> {
    type Value = Result<(), Found>;

    fn otherwise(self, found: Found) -> Self::Value {
        // What a newer version holds there is for newer ones to say.
        if self.read.head.newer_version().is_some() {
            return Ok(());
        }
        if found != Found::Null {
            return Err(found);
        }
        // A map that is empty, or a value that a template did not find.
        self.read.warnings.not_understood(|| "images is null".to_owned());
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { read: Read { collected, warnings, .. }, one_by_one } = self;
        let mut workloads = Vec::new();
        while let Some(Key(reference)) = map.next_key()? {
            let is_wanted = match collected.begin(&reference) {
                Ok(is_wanted) => is_wanted,
                Err(error) => {
                    map.next_value::<IgnoredAny>()?;
                    warnings.left_out(|| error.to_string());
                    continue;
                }
            };
            let wanted = is_wanted.then_some(&mut workloads);
            let expected = Any(Workloads { reference: &reference, wanted, warnings, one_by_one });
            let is_list = if one_by_one {
                let raw = map.next_value()?;
                expected.read(raw).unwrap_or_else(|_| {
                    let unreadable = Workloads { reference: &reference, wanted: None, warnings, one_by_one };
                    unreadable.otherwise(Found::Unreadable)
                })
            } else {
                map.next_value_seed(expected)?
            };
            if is_wanted && is_list {
                // Emptied, it keeps its room for the next image.
                collected.end(reference, workloads.drain(..));
            }
        }
        Ok(Ok(()))
    }
}

impl<'de> Expect<'de> for Workloads<'_> {
    /// Whether it is a list; `null` is an empty one.
    type Value = bool;

    fn otherwise(self, found: Found) -> bool {
        if found != Found::Null {
            let reference = excerpt(self.reference, KEY_CHARACTERS);
            self.warnings
                .entry_left_out(false, || format!("under {reference}, {found} in place of a list of workloads"));
        }
        found == Found::Null
    }

    fn list<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<bool, A::Error> {
        while let Some(entry) = next_entry(&mut list, self.one_by_one)? {
            let Some((namespace, kind, name)) = entry.workload() else {
                let reference = self.reference;
                self.warnings.entry_left_out(entry.is_of_another_kind(), || {
                    format!("under {}, {}", excerpt(reference, KEY_CHARACTERS), entry.problem())
                });
                continue;
            };
            if let Some(workloads) = &mut self.wanted {
                workloads.push(WorkloadRef::new(namespace, kind, name));
            }
        }
        Ok(true)
    }
}

fn next_entry<'de, A: SeqAccess<'de>>(list: &mut A, one_by_one: bool) -> Result<Option<Entry<'de>>, A::Error> {
    if one_by_one {
        let raw = list.next_element::<&'de RawValue>()?;
        Ok(raw.map(|raw| Any(AnEntry).read(raw).unwrap_or(Entry::Wrong(Found::Unreadable))))
    } else {
        list.next_element_seed(Any(AnEntry))
    }
}
