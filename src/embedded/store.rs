//! Objects by key, and one revision counter for all of them: what etcd is to a real API server.

use std::collections::BTreeMap;
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

/// All objects. Stored without `kind` and `apiVersion`, as the items of a JSON list are.
#[derive(Debug)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    revision: watch::Sender<u64>,
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
        Self { objects: BTreeMap::new(), revision: watch::Sender::new(1) }
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

    /// Writes an object at the next revision. The one place, with [`Self::delete`], where an event
    /// for watchers would be logged.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        let revision = self.revision() + 1;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let object = Arc::new(object);
        self.objects.insert(key, Arc::clone(&object));
        self.revision.send_replace(revision);
        object
    }

    /// Removes an object, which takes a revision as well.
    pub(super) fn delete(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = self.objects.remove(key)?;
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
