//! Texts, each with a list of workloads, in few large pieces of memory: an index of a large cluster is replaced often, and
//! what thousands of small pieces leave behind is of little use to others.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::workload::WorkloadRef;

/// Keys and their workloads, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// All keys, one after the other.
    keys: String,
    /// All workloads, one list after the other.
    workloads: Vec<WorkloadRef>,
    /// Where each key and each list ends.
    ends: Vec<(usize, usize)>,
}

/// Each key once, with its workloads sorted, each once.
#[derive(Debug, Default)]
pub(super) struct IndexedLists {
    lists: Lists,
    /// The places of the keys.
    places: HashTable<usize>,
    hasher: RandomState,
}

// === impl Lists ===

impl Lists {
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self { ends: Vec::with_capacity(keys), ..Self::default() }
    }

    /// Adds a list; there may be others of the same key.
    pub(super) fn push(&mut self, key: &str, workloads: impl IntoIterator<Item = WorkloadRef>) {
        self.keys.push_str(key);
        self.workloads.extend(workloads);
        self.ends.push((self.keys.len(), self.workloads.len()));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[WorkloadRef])> {
        (0..self.ends.len()).map(|place| self.at(place))
    }

    /// The key and the list at a place. There is none at another.
    fn at(&self, place: usize) -> (&str, &[WorkloadRef]) {
        let end = |place: Option<usize>| place.and_then(|place| self.ends.get(place)).copied().unwrap_or_default();
        let ((key, list), (key_end, list_end)) = (end(place.checked_sub(1)), end(Some(place)));
        (self.keys.get(key..key_end).unwrap_or_default(), self.workloads.get(list..list_end).unwrap_or_default())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn workloads(&self) -> &[WorkloadRef] {
        &self.workloads
    }

    /// The workloads of a key, where the keys are sorted.
    pub(super) fn find(&self, key: &str) -> Option<&[WorkloadRef]> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            let (found, workloads) = self.at(middle);
            match found.cmp(key) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Some(workloads),
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    /// In order: each key once, with its workloads in order, each once.
    pub(super) fn sorted(self) -> Self {
        let mut sorted: Vec<_> = self.iter().collect();
        sorted.sort_by_key(|(key, _)| *key);
        let mut lists = Self {
            keys: String::with_capacity(self.keys.len()),
            workloads: Vec::with_capacity(self.workloads.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        for of_key in sorted.chunk_by(|(one, _), (next, _)| one == next) {
            let mut workloads: Vec<&WorkloadRef> = of_key.iter().flat_map(|(_, workloads)| *workloads).collect();
            workloads.sort_unstable();
            workloads.dedup();
            of_key.iter().take(1).for_each(|(key, _)| lists.push(key, workloads.iter().copied().cloned()));
        }
        lists
    }

    pub(super) fn indexed(self) -> IndexedLists {
        let lists = self.sorted();
        let (hasher, mut places) = (RandomState::new(), HashTable::with_capacity(lists.ends.len()));
        let hash = |place: &usize| hasher.hash_one(lists.at(*place).0);
        for place in 0..lists.ends.len() {
            places.insert_unique(hash(&place), place, hash);
        }
        IndexedLists { lists, places, hasher }
    }
}

// === impl IndexedLists ===

impl IndexedLists {
    /// The workloads of a key.
    pub(super) fn get(&self, key: &str) -> Option<&[WorkloadRef]> {
        let place = self.places.find(self.hasher.hash_one(key), |place| self.lists.at(*place).0 == key)?;
        Some(self.lists.at(*place).1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[WorkloadRef])> {
        self.lists.iter()
    }

    /// The workloads of all keys.
    pub(super) fn workloads(&self) -> &[WorkloadRef] {
        &self.lists.workloads
    }

    /// To add to them.
    pub(super) fn into_lists(self) -> Lists {
        self.lists
    }
}
