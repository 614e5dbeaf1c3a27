//! What a scan has found.

use crate::index::IndexBuilder;
use crate::index::lists::Lists;
use crate::workload::WorkloadRef;

/// References as the workloads write them, and the workloads that run each: in the order in which they are stored, each
/// once. In few large pieces of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images(Lists);

/// The index of what a scan has found, for more to be added. What is no image reference is left out: no push can name it.
pub fn builder_of(images: &Images) -> IndexBuilder {
    let mut index = IndexBuilder::with_capacity(images.len());
    for (reference, workloads) in images.iter() {
        let _ = index.add_written(reference, workloads.iter().cloned());
    }
    index
}

// === impl Images ===

impl Images {
    /// In order, each with its workloads in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[WorkloadRef])> {
        self.0.iter()
    }

    /// The workloads of a reference.
    pub fn get(&self, reference: &str) -> Option<&[WorkloadRef]> {
        self.0.find(reference)
    }

    /// The workloads of all references: one that runs several is there several times.
    pub fn workloads(&self) -> &[WorkloadRef] {
        self.0.workloads()
    }

    /// How many references there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These workloads alone, and the references that they run.
    pub fn filtered(&self, is_kept: impl Fn(&WorkloadRef) -> bool) -> Self {
        let kept = self.iter().map(|(reference, workloads)| {
            (reference, workloads.iter().filter(|workload| is_kept(workload)).cloned().collect::<Vec<_>>())
        });
        kept.filter(|(_, workloads)| !workloads.is_empty()).collect()
    }
}

/// In any order.
impl From<Lists> for Images {
    fn from(lists: Lists) -> Self {
        Self(lists.sorted())
    }
}

/// In any order. A reference may be there several times.
impl<R: AsRef<str>, W: IntoIterator<Item = WorkloadRef>> FromIterator<(R, W)> for Images {
    fn from_iter<I: IntoIterator<Item = (R, W)>>(images: I) -> Self {
        let mut lists = Lists::default();
        images.into_iter().for_each(|(reference, workloads)| lists.push(reference.as_ref(), workloads));
        Self::from(lists)
    }
}
