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

/// Stored without `kind` and `apiVersion`, as the items of a JSON list are.
type Objects = BTreeMap<Key, Arc<Value>>;

/// All objects.
#[derive(Debug)]
pub(super) struct Store {
    /// Copied at the first write after a snapshot.
    objects: Arc<Objects>,
    revision: watch::Sender<u64>,
    snapshots: VecDeque<Snapshot>,
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
        Self { objects: Arc::default(), revision: watch::Sender::new(1), snapshots: VecDeque::new() }
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

    /// Writes an object at the next revision. The one place, with [`Self::delete`], where an event
    /// for watchers would be logged.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        let revision = self.revision() + 1;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let object = Arc::new(object);
        Arc::make_mut(&mut self.objects).insert(key, Arc::clone(&object));
        self.revision.send_replace(revision);
        object
    }

    /// Removes an object, which takes a revision as well.
    pub(super) fn delete(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = Arc::make_mut(&mut self.objects).remove(key)?;
        self.revision.send_modify(|revision| *revision += 1);
        Some(object)
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
