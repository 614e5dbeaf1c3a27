//! Reading a document, in one pass: into an index, into what it lists, or into the answer to one lookup.

mod any;
mod collect;
mod entry;
mod head_fields;
#[cfg(test)]
mod tests;
mod visit;
mod warnings;

use serde::de::DeserializeSeed as _;

use super::error::DocumentError;
use super::head::{Head, PartAsOf};
use super::images::Images;
use crate::excerpt::excerpt;
use crate::image::ImageRef;
use crate::index::lists::Lists;
use crate::index::{Index, Part};
use crate::workload::WorkloadRef;
use collect::{Collect, OneRepository, Same, WholeIndex};
use visit::{DocumentOf, Read};
pub use warnings::{LEFT_OUT, WARNINGS_MAX};

/// How much of the JSON reader's words an error has.
const PROBLEM_CHARACTERS: usize = 200;
/// About what an image with one workload takes of a document: room is made for as many.
const BYTES_OF_AN_IMAGE: usize = 192;

/// A decoded document.
#[derive(Debug)]
pub struct Document {
    /// What it says of itself.
    pub head: Head,
    /// What it lists.
    pub index: Index,
    /// Whether a workload may be missing that its writer has seen, because an entry or the version could not be read. Such
    /// a document proves nothing, whatever its head says.
    pub is_incomplete: bool,
    /// What was left out, each with a sentence; at most [`WARNINGS_MAX`].
    pub warnings: Vec<String>,
}

/// A stored document, compared with what a scan has found.
#[derive(Debug)]
pub struct Compared {
    /// What it says of itself.
    pub head: Head,
    /// As of [`Document::is_incomplete`].
    pub is_incomplete: bool,
    /// Whether it lists the same, each image once.
    pub is_same: bool,
}

/// What a document says of one image.
#[derive(Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// What it says of itself.
    pub head: Head,
    /// The workloads that run the image, as [`Index::lookup`] has them.
    pub workloads: Vec<WorkloadRef>,
    /// As of [`Document::warnings`].
    pub warnings: Vec<String>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`DocumentError`] where nothing of it can be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let Read { collected, head, warnings } = read(bytes, || WholeIndex::new(bytes.len() / BYTES_OF_AN_IMAGE))?;
        let (head, index, is_incomplete) = (head.into_head(), collected.into_index(), warnings.may_lack_a_workload());
        Ok(Self { head, index, is_incomplete, warnings: warnings.into_texts() })
    }

    /// What a document says of `image`: the same as decoding it and looking up, in a fraction of the time.
    ///
    /// # Errors
    /// As [`Document::decode`].
    pub fn look_up(bytes: &[u8], image: &ImageRef) -> Result<LookedUp, DocumentError> {
        let Read { collected, head, warnings } = read(bytes, || OneRepository::of(image))?;
        let workloads = collected.into_index().lookup(image);
        Ok(LookedUp { head: head.into_head(), workloads, warnings: warnings.into_texts() })
    }

    /// Compares a stored document with what a scan has found, without keeping what it lists.
    ///
    /// # Errors
    /// As [`Document::decode`].
    pub fn compare(bytes: &[u8], images: &Images) -> Result<Compared, DocumentError> {
        let Read { collected, head, warnings } = read(bytes, || Same::of(images))?;
        let (is_incomplete, is_left_out) = (warnings.may_lack_a_workload(), warnings.is_an_entry_left_out());
        Ok(Compared { head: head.into_head(), is_incomplete, is_same: !is_left_out && collected.has_found_the_same() })
    }

    /// What a stored document lists; `None` where it cannot be read, or entries of it cannot.
    pub fn images(bytes: &[u8]) -> Option<Images> {
        let Read { collected, warnings, .. } = read(bytes, Lists::default).ok()?;
        (!warnings.is_an_entry_left_out()).then(|| collected.into())
    }

    /// What a stored document lists of these parts, and up to which time that is complete; nothing where it cannot be read.
    pub fn of_parts(bytes: &[u8], parts: &[Part]) -> (Images, Vec<PartAsOf>) {
        let read = read(bytes, Lists::default).ok();
        let is_complete = read.as_ref().is_some_and(|read| !read.warnings.may_lack_a_workload());
        let (listed, head) = read.map(|read| (read.collected, read.head.into_head())).unwrap_or_default();
        let images = Images::from(listed).filtered(|workload| parts.iter().any(|part| part.has(workload)));
        let as_of = |part| head.part(part).flatten().filter(|_| is_complete);
        (images, parts.iter().map(|part| PartAsOf { as_of: as_of(part), part: part.clone() }).collect())
    }
}

fn read<'de, C: Collect<'de>>(bytes: &'de [u8], collect: impl Fn() -> C) -> Result<Read<C>, DocumentError> {
    let text = std::str::from_utf8(bytes).map_err(|error| DocumentError::NotUtf8(error.valid_up_to()))?;
    let text = text.trim_start_matches('\u{feff}');
    let attempt = |one_by_one| {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = DocumentOf { collect: collect(), one_by_one }.deserialize(&mut json)?;
        json.end().map(|()| read)
    };
    // A number that is out of range, or half of a surrogate pair, ends a pass although it is JSON.
    let read = attempt(false)
        .or_else(|_| attempt(true))
        .map_err(|error| DocumentError::Malformed(excerpt(&error.to_string(), PROBLEM_CHARACTERS)))?;
    read.head.newer_version().map_or(Ok(read), |found| Err(DocumentError::TooNew { found }))
}
