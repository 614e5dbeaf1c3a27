//! The index: which workloads run an image. Built once, then immutable; a newer one replaces it whole.
//!
//! A lookup is one hash of the reference's normal form: no lock, no parse, no allocation.
//!
//! Pure: it must not know where its entries come from (a mount, a ConfigMap, a scan) or how they are
//! stored; [`document`] is the stored form.

pub mod document;
mod lists;
mod part;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::image::{ImageRef, ImageRefError};
use crate::workload::{WorkloadKind, WorkloadRef};
use lists::{IndexedLists, Lists};
pub use part::Part;

/// Image references to the workloads that run them.
#[derive(Debug, Default)]
pub struct Index {
    /// Normalised `REPOSITORY:TAG` to who runs it.
    by_tag: IndexedLists,
    /// Normalised repository to who runs it pinned by a digest: no push moves these.
    pinned: HashMap<Box<str>, Box<[PinnedWorkload]>>,
    images: usize,
    workloads: usize,
}

/// A workload that runs an image by digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PinnedWorkload {
    /// The reference in its pod template.
    pub image: ImageRef,
    /// Who runs it.
    pub workload: WorkloadRef,
}

/// Collects entries for an [`Index`].
#[derive(Debug, Default)]
pub struct IndexBuilder {
    by_tag: Lists,
    pinned: BTreeMap<Box<str>, BTreeSet<PinnedWorkload>>,
    images: usize,
    /// The normal form of the reference that was begun: most need no memory of their own.
    normal: String,
    follows_a_tag: bool,
}

/// The namespaces that a scan has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole cluster.
    AllNamespaces,
    /// These alone.
    Namespaces(BTreeSet<String>),
}

// === impl Index ===

impl Index {
    /// Who runs this image: for a tagged reference those that follow the tag, for a reference with a
    /// digest those that are pinned to it.
    pub fn lookup(&self, image: &ImageRef) -> Vec<WorkloadRef> {
        match image.digest() {
            None => self.followers(image).to_vec(),
            Some(digest) => self
                .pinned(image)
                .iter()
                .filter(|pinned| pinned.image.digest() == Some(digest))
                .map(|pinned| pinned.workload.clone())
                .collect(),
        }
    }

    /// The part of [`Self::lookup`] that begins at the entry `from` and looks at `entries` of them, so that it may be empty;
    /// `None` where there are no more. For images that very many run.
    pub fn lookup_part(&self, image: &ImageRef, from: usize, entries: usize) -> Option<Vec<&WorkloadRef>> {
        fn part<T>(all: &[T], from: usize, entries: usize) -> Option<&[T]> {
            all.get(from..).filter(|rest| !rest.is_empty()).map(|rest| rest.get(..entries).unwrap_or(rest))
        }
        let Some(digest) = image.digest() else {
            return part(self.followers(image), from, entries).map(|part| part.iter().collect());
        };
        let pinned = part(self.pinned(image), from, entries)?.iter();
        Some(pinned.filter(|one| one.image.digest() == Some(digest)).map(|one| &one.workload).collect())
    }

    /// Those that follow the tag: what a push of it concerns.
    pub fn followers(&self, image: &ImageRef) -> &[WorkloadRef] {
        image.tag_key().and_then(|key| self.by_tag.get(key)).unwrap_or_default()
    }

    /// Those that run the same repository pinned by whatever digest.
    pub fn pinned(&self, image: &ImageRef) -> &[PinnedWorkload] {
        self.pinned.get(image.repository()).map_or(&[], |pinned| pinned)
    }

    /// How many different references there are, as written.
    pub fn images(&self) -> usize {
        self.images
    }

    /// How many different workloads there are.
    pub fn workloads(&self) -> usize {
        self.workloads
    }

    /// How many different workloads of each kind each namespace has. It goes through all entries.
    pub fn collections(&self) -> HashMap<(&str, WorkloadKind), usize> {
        let pinned = self.pinned.values().flatten().map(|pinned| &pinned.workload);
        let distinct: HashSet<&WorkloadRef> = self.by_tag.workloads().iter().chain(pinned).collect();
        let mut collections = HashMap::new();
        for workload in distinct {
            *collections.entry((&*workload.namespace, workload.kind)).or_default() += 1;
        }
        collections
    }
}

// === impl IndexBuilder ===

impl IndexBuilder {
    /// One that has room for `images` references.
    pub fn with_capacity(images: usize) -> Self {
        Self { by_tag: Lists::with_capacity(images), ..Self::default() }
    }

    /// Adds those that run `image`; entries may repeat and come in any order.
    pub fn add(&mut self, image: &ImageRef, workloads: impl IntoIterator<Item = WorkloadRef>) {
        self.images += 1;
        match image.tag_key() {
            Some(key) => self.by_tag.push(key, workloads),
            None => self
                .pinned
                .entry(image.repository().into())
                .or_default()
                .extend(workloads.into_iter().map(|workload| PinnedWorkload { image: image.clone(), workload })),
        }
    }

    /// Adds those that run the image that `reference` is, as written: [`Self::add`] without an [`ImageRef`] of its own
    /// where there is no need of one, which is most of the time that an index takes.
    ///
    /// # Errors
    /// It is no image reference.
    pub fn add_written(
        &mut self,
        reference: &str,
        workloads: impl IntoIterator<Item = WorkloadRef>,
    ) -> Result<(), ImageRefError> {
        self.begin(reference)?;
        self.end(reference, workloads);
        Ok(())
    }

    /// The first half of [`Self::add_written`], before the workloads are known.
    fn begin(&mut self, reference: &str) -> Result<(), ImageRefError> {
        self.follows_a_tag = ImageRef::write_tag_key(reference, &mut self.normal)?;
        Ok(())
    }

    /// The second half, with the reference that was begun last.
    fn end(&mut self, reference: &str, workloads: impl IntoIterator<Item = WorkloadRef>) {
        if self.follows_a_tag {
            self.images += 1;
            self.by_tag.push(&self.normal, workloads);
        } else if let Ok(image) = reference.parse() {
            self.add(&image, workloads);
        }
    }

    /// Adds the entries of another index, as far as their workloads are in one of these parts.
    pub fn add_parts_of(&mut self, other: &Index, parts: &[Part]) {
        let is_wanted = |workload: &WorkloadRef| parts.iter().any(|part| part.has(workload));
        let known: HashSet<String> = self.by_tag.iter().map(|(key, _)| key.to_owned()).collect();
        for (key, workloads) in other.by_tag.iter() {
            let wanted: Vec<_> = workloads.iter().filter(|workload| is_wanted(workload)).cloned().collect();
            if !wanted.is_empty() {
                self.images += usize::from(!known.contains(key));
                self.by_tag.push(key, wanted);
            }
        }
        for (repository, pinned) in &other.pinned {
            let wanted: Vec<_> = pinned.iter().filter(|pinned| is_wanted(&pinned.workload)).cloned().collect();
            if !wanted.is_empty() {
                let known = self.pinned.entry(repository.clone()).or_default();
                for pinned in wanted {
                    self.images += usize::from(!known.iter().any(|known| known.image == pinned.image));
                    known.insert(pinned);
                }
            }
        }
    }

    /// The index of all that was added.
    pub fn build(self) -> Index {
        let images = self.images;
        self.build_of(images)
    }

    /// The same, of so many different references.
    fn build_of(self, images: usize) -> Index {
        let by_tag = self.by_tag.indexed();
        let pinned: HashMap<_, Box<[PinnedWorkload]>> =
            self.pinned.into_iter().map(|(repository, pinned)| (repository, pinned.into_iter().collect())).collect();
        let mut distinct: HashSet<&WorkloadRef> = HashSet::with_capacity(by_tag.workloads().len());
        distinct.extend(by_tag.workloads());
        distinct.extend(pinned.values().flatten().map(|pinned: &PinnedWorkload| &pinned.workload));
        let workloads = distinct.len();
        Index { by_tag, pinned, images, workloads }
    }
}

/// To add to what is built.
impl From<Index> for IndexBuilder {
    fn from(Index { by_tag, pinned, images, .. }: Index) -> Self {
        let pinned =
            pinned.into_iter().map(|(repository, pinned)| (repository, pinned.into_iter().collect())).collect();
        Self { by_tag: by_tag.into_lists(), pinned, images, ..Self::default() }
    }
}

// === impl Scope ===

impl Scope {
    /// All namespaces where `namespaces` is empty, else these.
    pub fn of(namespaces: &[String]) -> Self {
        if namespaces.is_empty() { Self::AllNamespaces } else { Self::Namespaces(namespaces.iter().cloned().collect()) }
    }

    /// One LIST for each of these sees it all; `None` is of all namespaces.
    pub fn namespaces(&self) -> Vec<Option<&str>> {
        match self {
            Self::AllNamespaces => vec![None],
            Self::Namespaces(namespaces) => namespaces.iter().map(|namespace| Some(namespace.as_str())).collect(),
        }
    }

    /// Its parts: one for each kind in each of [`Self::namespaces`].
    pub fn parts(&self) -> Vec<Part> {
        let of_kind = |kind| self.namespaces().into_iter().map(move |namespace| Part::new(kind, namespace));
        WorkloadKind::ALL.into_iter().flat_map(of_kind).collect()
    }

    /// Whether a namespace is in it.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::AllNamespaces => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }

    /// Whether it has some of a part.
    pub fn overlaps(&self, part: &Part) -> bool {
        part.namespace.as_deref().is_none_or(|namespace| self.includes(namespace))
    }

    /// Whether it has all of a part.
    pub fn covers_part(&self, part: &Part) -> bool {
        part.namespace.as_deref().map_or(*self == Self::AllNamespaces, |namespace| self.includes(namespace))
    }

    /// Whether what was seen in this scope is all there is to see in `other`.
    pub fn covers(&self, other: &Scope) -> bool {
        match (self, other) {
            (Self::AllNamespaces, _) => true,
            (Self::Namespaces(_), Self::AllNamespaces) => false,
            (Self::Namespaces(seen), Self::Namespaces(wanted)) => wanted.is_subset(seen),
        }
    }
}
