//! What is kept of the images of a document.

use std::borrow::Cow;

use crate::image::{ImageRef, ImageRefError};
use crate::index::document::images::Images;
use crate::index::lists::Lists;
use crate::index::{Index, IndexBuilder};
use crate::workload::WorkloadRef;

/// Takes the images of a document, one after the other.
pub(super) trait Collect<'de> {
    /// Called with a key before its workloads are read; `false`: they are not wanted.
    ///
    /// # Errors
    /// It is no image reference, and nothing is kept of it.
    fn begin(&mut self, reference: &str) -> Result<bool, ImageRefError>;

    /// Called with the workloads of the key that was begun last, unless they are not wanted.
    fn end(&mut self, reference: Cow<'de, str>, workloads: impl Iterator<Item = WorkloadRef>);
}

/// All of it, as an index.
pub(super) struct WholeIndex<'de> {
    index: IndexBuilder,
    references: Vec<Cow<'de, str>>,
}

/// What is of one repository, as an index.
pub(super) struct OneRepository<'i> {
    wanted: &'i ImageRef,
    index: IndexBuilder,
    begun: Option<ImageRef>,
}

/// Nothing of it: whether it is what is expected.
pub(super) struct Same<'de, 'i> {
    expected: &'i Images,
    references: Vec<Cow<'de, str>>,
    /// The workloads of one image.
    found: Vec<WorkloadRef>,
    has_differed: bool,
}

// === impl WholeIndex ===

impl WholeIndex<'_> {
    /// One that has room for `images` references.
    pub(super) fn new(images: usize) -> Self {
        Self { index: IndexBuilder::with_capacity(images), references: Vec::with_capacity(images) }
    }

    pub(super) fn into_index(self) -> Index {
        let Self { index, mut references } = self;
        // In ascending order, as pushroll writes them, none is there twice.
        if !references.is_sorted_by(|one, next| one < next) {
            references.sort_unstable();
            references.dedup();
        }
        let images = references.len();
        // Before the rest is built: of a hostile document these take as much.
        drop(references);
        index.build_of(images)
    }
}

impl<'de> Collect<'de> for WholeIndex<'de> {
    fn begin(&mut self, reference: &str) -> Result<bool, ImageRefError> {
        self.index.begin(reference).map(|()| true)
    }

    fn end(&mut self, reference: Cow<'de, str>, workloads: impl Iterator<Item = WorkloadRef>) {
        self.index.end(&reference, workloads);
        self.references.push(reference);
    }
}

// === impl OneRepository ===

impl<'i> OneRepository<'i> {
    pub(super) fn of(wanted: &'i ImageRef) -> Self {
        Self { wanted, index: IndexBuilder::default(), begun: None }
    }

    pub(super) fn into_index(self) -> Index {
        self.index.build()
    }
}

impl<'de> Collect<'de> for OneRepository<'_> {
    fn begin(&mut self, reference: &str) -> Result<bool, ImageRefError> {
        self.begun = self.wanted.parse_if_of_same_repository(reference)?;
        Ok(self.begun.is_some())
    }

    fn end(&mut self, _reference: Cow<'de, str>, workloads: impl Iterator<Item = WorkloadRef>) {
        if let Some(image) = self.begun.take() {
            self.index.add(&image, workloads);
        }
    }
}

// === impl Same ===

impl<'i> Same<'_, 'i> {
    pub(super) fn of(expected: &'i Images) -> Self {
        Self { expected, references: Vec::with_capacity(expected.len()), found: Vec::new(), has_differed: false }
    }

    pub(super) fn has_found_the_same(mut self) -> bool {
        if !self.references.is_sorted_by(|one, next| one < next) {
            self.references.sort_unstable();
            self.references.dedup();
        }
        !self.has_differed && self.references.len() == self.expected.len()
    }
}

impl<'de> Collect<'de> for Same<'de, '_> {
    fn begin(&mut self, _reference: &str) -> Result<bool, ImageRefError> {
        Ok(true)
    }

    fn end(&mut self, reference: Cow<'de, str>, workloads: impl Iterator<Item = WorkloadRef>) {
        self.found.clear();
        self.found.extend(workloads);
        self.found.sort_unstable();
        self.found.dedup();
        let expected = self.expected.get(&reference);
        self.has_differed |= expected != Some(&*self.found);
        self.references.push(reference);
    }
}

/// All of it, as it is written.
impl<'de> Collect<'de> for Lists {
    fn begin(&mut self, _reference: &str) -> Result<bool, ImageRefError> {
        Ok(true)
    }

    fn end(&mut self, reference: Cow<'de, str>, workloads: impl Iterator<Item = WorkloadRef>) {
        self.push(&reference, workloads);
    }
}
