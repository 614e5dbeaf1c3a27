//! What a scan has found.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::IndexBuilder;
use crate::workload::WorkloadRef;

/// References as the workloads write them, and the workloads, in the order in which they are stored.
pub type Images = BTreeMap<Box<str>, BTreeSet<WorkloadRef>>;

/// The index of what a scan has found, for more to be added. What is no image reference is left out: no push can name it.
pub fn builder_of(images: &Images) -> IndexBuilder {
    let mut index = IndexBuilder::with_capacity(images.len());
    for (reference, workloads) in images {
        let _ = index.add_written(reference, workloads.iter().cloned());
    }
    index
}
