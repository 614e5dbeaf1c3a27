//! Objects by key, and one revision counter for all of them: what etcd is to a real API server.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::resource::ResourceType;

/// Where an object lives, as under `/registry`: `deployments/NAMESPACE/NAME`, `namespaces/NAME`.
/// The order of keys is the order of a LIST.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(String);

/// Lists whose next pages can still be asked for.
const MOST_SNAPSHOTS: usize = 32;

/// Changes that a watcher can still ask for.
const MOST_CHANGES: usize = 1_000;

/// Stored without `kind` and `apiVersion`, as the items of a JSON list are.
type Objects = BTreeMap<Key, Arc<Value>>;

/// All objects.
#[derive(Debug)]
pub(super) struct Store {
    /// Copied at the first write after a snapshot.
    objects: Arc<Objects>,
    revision: watch::Sender<u64>,
    snapshots: VecDeque<Snapshot>,
    /// The last changes, the oldest first, for watchers.
    changes: VecDeque<Change>,
    /// Changes up to this revision are forgotten.
    compacted: u64,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    /// `None`: it is new.
    pub(super) before: Option<Arc<Value>>,
    /// `None`: it was deleted.
    pub(super) after: Option<Arc<Value>>,
}

/// All objects as they were at one revision.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) revision: u64,
    objects: Arc<Objects>,
}

// === impl Key ===

impl Key {
    pub(super) fn of(resource: &ResourceType, namespace: Option<&str>, name: &str) -> Self {
        match namespace.filter(|_| resource.namespaced) {
            Some(namespace) => Self(format!("{}/{namespace}/{name}", resource.plural)),
            None => Self(format!("{}/{name}", resource.plural)),
        }
    }

    /// The part that keys of one list share; what follows it tells its items apart.
    pub(super) fn prefix(resource: &ResourceType, namespace: Option<&str>) -> Self {
        Self::of(resource, namespace, "")
    }

    /// What follows `prefix`.
    pub(super) fn after<'a>(&'a self, prefix: &Self) -> Option<&'a str> {
        self.0.strip_prefix(&prefix.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Store ===

impl Store {
    pub(super) fn new() -> Self {
        let (revision, snapshots, changes) = (watch::Sender::new(1), VecDeque::new(), VecDeque::new());
        Self { objects: Arc::default(), revision, snapshots, changes, compacted: 1 }
    }

    pub(super) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Wakes at every write.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision(), objects: Arc::clone(&self.objects) }
    }

    /// Keeps a snapshot for the pages of a list that are still to come.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        if self.snapshot_of(snapshot.revision).is_none() {
            self.snapshots.truncate(MOST_SNAPSHOTS - 1);
            self.snapshots.push_front(snapshot);
        }
    }

    /// A snapshot that was kept, unless too many came after it.
    pub(super) fn snapshot_of(&self, revision: u64) -> Option<Snapshot> {
        self.snapshots.iter().find(|kept| kept.revision == revision).cloned()
    }

    /// The changes after `revision`; `None` where they are not all remembered any more.
    pub(super) fn changes_after(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        let is_known = revision >= self.compacted;
        is_known.then(|| self.changes.iter().skip_while(move |change| change.revision <= revision))
    }

    /// Up to which revision changes are forgotten.
    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Forgets all changes, as etcd's compaction does.
    pub(super) fn compact(&mut self) {
        self.compacted = self.revision();
        self.changes.clear();
    }

    /// Writes an object at the next revision. With [`Self::delete`] the one place where objects change.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        let revision = self.revision() + 1;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let object = Arc::new(object);
        let before = Arc::make_mut(&mut self.objects).insert(key.clone(), Arc::clone(&object));
        self.note(Change { revision, key, before, after: Some(Arc::clone(&object)) });
        object
    }

    /// Removes an object, which takes a revision as well.
    pub(super) fn delete(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = Arc::make_mut(&mut self.objects).remove(key)?;
        let revision = self.revision() + 1;
        self.note(Change { revision, key: key.clone(), before: Some(Arc::clone(&object)), after: None });
        Some(object)
    }

    fn note(&mut self, change: Change) {
        let revision = change.revision;
        self.changes.push_back(change);
        if self.changes.len() > MOST_CHANGES
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.compacted = forgotten.revision;
        }
        self.revision.send_replace(revision);
    }

    /// Removes everything in a namespace.
    pub(super) fn empty_namespace(&mut self, namespace: &str) {
        let lives_there = |object: &Value| object["metadata"]["namespace"].as_str() == Some(namespace);
        let keys: Vec<Key> =
            self.objects.iter().filter(|(_, object)| lives_there(object)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.delete(&key);
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The objects under `prefix`, those after `start` (a key without its prefix) only.
    pub(super) fn list<'a>(
        &'a self,
        prefix: &'a Key,
        start: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Value>)> {
        let from = match start {
            Some(start) => Bound::Excluded(Key(format!("{}{start}", prefix.0))),
            None => Bound::Included(prefix.clone()),
        };
        let rest = self.objects.range((from, Bound::Unbounded));
        rest.map_while(|(key, object)| key.after(prefix).map(|name| (name, object)))
    }
}
