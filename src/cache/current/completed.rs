//! An index of which parts come from the index before it, because they could not be seen.

use crate::cache::loaded_index::LoadedIndex;
use crate::index::document::PartAsOf;
use crate::index::{Index, IndexBuilder, Part};

/// An index, and the parts of our scope that it has from an index before.
#[derive(Debug)]
pub(in crate::cache) struct CompletedIndex {
    pub(super) index: Index,
    pub(super) unseen: Vec<PartAsOf>,
}

impl CompletedIndex {
    /// What was seen, and what the index `before` has of the parts that were not.
    pub(super) fn of_seen(mut index: IndexBuilder, unseen: &[Part], before: Option<&LoadedIndex>) -> Self {
        let before = before.filter(|_| !unseen.is_empty());
        before.iter().for_each(|before| index.add_parts_of(&before.index, unseen));
        let as_of = |part| before.and_then(|before| before.part_as_of(part));
        let unseen = unseen.iter().map(|part| PartAsOf { as_of: as_of(part), part: part.clone() }).collect();
        Self { index: index.build(), unseen }
    }

    /// The index of a document, and what the index `before` has of the parts that its writer has not seen, where that is
    /// newer.
    pub(super) fn of_document(mut index: Index, mut unseen: Vec<PartAsOf>, before: Option<&LoadedIndex>) -> Self {
        let mut newer = Vec::new();
        for (unseen, before) in unseen.iter_mut().flat_map(|unseen| before.map(|before| (unseen, before))) {
            let as_of = before.part_as_of(&unseen.part);
            if as_of > unseen.as_of {
                unseen.as_of = as_of;
                newer.push(unseen.part.clone());
            }
        }
        if let Some(before) = before.filter(|_| !newer.is_empty()) {
            let mut completed = IndexBuilder::from(index);
            completed.add_parts_of(&before.index, &newer);
            index = completed.build();
        }
        Self { index, unseen }
    }
}
