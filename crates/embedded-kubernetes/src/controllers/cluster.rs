//! What a controller sees and does: the store, locked for one pass, through the same checks as a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::{DAEMON_SETS, DEPLOYMENTS, PODS, REPLICA_SETS, ResourceType, STATEFUL_SETS};
use crate::store::{Key, Store};
use crate::write::{Change, Write};

const MANAGER: &str = "kube-controller-manager";

/// The names of the nodes.
pub(super) type Nodes = Vec<String>;

/// Pod templates by the UID of their StatefulSet and their revision: what `ControllerRevision` objects hold elsewhere.
pub(super) type Templates = BTreeMap<(String, String), Value>;

/// The cluster during one pass.
pub(super) struct Cluster<'a> {
    store: &'a mut Store,
    pub(super) now: Timestamp,
    pub(super) nodes: &'a Nodes,
    pub(super) templates: &'a mut Templates,
    wake_at: Option<Timestamp>,
}

/// The reference to an object's controller.
pub(super) fn controller_of(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// A number of an object; 0 where it is missing.
pub(super) fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// How many these are.
pub(super) fn length<T>(items: impl IntoIterator<Item = T>) -> i64 {
    i64::try_from(items.into_iter().count()).unwrap_or(i64::MAX)
}

/// `3`, or a percentage of `total`.
pub(super) fn resolved(value: &Value, total: i64, round_up: bool) -> i64 {
    let Some(percent) = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok()) else {
        return count(value);
    };
    let hundredfold = total.saturating_mul(percent);
    if round_up { hundredfold.saturating_add(99) / 100 } else { hundredfold / 100 }
}

/// A name for a template: FNV-1a, written in the characters that make no words.
pub(super) fn hash_of(template: &Value) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = template.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let mut next = || {
        let at = usize::try_from(hash % 27).unwrap_or_default();
        hash /= 27;
        char::from(ALPHABET[at])
    };
    (0..10).map(|_| next()).collect()
}

/// Sets counts, and leaves out zeros, as Go's `omitempty` does.
pub(super) fn set_counts(status: &mut Value, counts: &[(&str, i64)]) {
    let Some(status) = status.as_object_mut() else { return };
    for (field, number) in counts {
        if *number == 0 {
            status.remove(*field);
        } else {
            status.insert((*field).to_owned(), json!(number));
        }
    }
}

// === impl Cluster ===

impl<'a> Cluster<'a> {
    pub(super) fn new(store: &'a mut Store, now: Timestamp, nodes: &'a Nodes, templates: &'a mut Templates) -> Self {
        Self { store, now, nodes, templates, wake_at: None }
    }

    /// When something will be true that is not yet, without any change.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    pub(super) fn look_again_at(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn get(&self, resource: &ResourceType, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store.get(&Key::of(resource, Some(namespace), name)).cloned()
    }

    /// The objects that `owner` controls, in the order of their names.
    pub(super) fn controlled_by(&self, resource: &ResourceType, owner: &Value) -> Vec<Arc<Value>> {
        let uid = &owner["metadata"]["uid"];
        let is_it = |object: &Value| controller_of(object).is_some_and(|owner| owner["uid"] == *uid);
        let prefix = Key::prefix(resource, owner["metadata"]["namespace"].as_str());
        let snapshot = self.store.snapshot();
        let found = snapshot.list(&prefix, None).filter(|(_, object)| is_it(object));
        found.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The node with the fewest pods; none for a pod that asks for another.
    pub(super) fn node_for(&self, pod_spec: &Value) -> Option<&'a str> {
        let mut pods: BTreeMap<&str, usize> = BTreeMap::new();
        let snapshot = self.store.snapshot();
        let prefix = Key::prefix(&PODS, None);
        for (_, pod) in snapshot.list(&prefix, None) {
            if let Some(node) = self.nodes.iter().find(|node| pod["spec"]["nodeName"] == node.as_str()) {
                *pods.entry(node).or_default() += 1;
            }
        }
        let fitting = self.nodes.iter().map(String::as_str).filter(|node| fits(node, pod_spec));
        fitting.min_by_key(|node| pods.get(node).copied().unwrap_or_default())
    }

    /// The nodes that a pod may run on.
    pub(super) fn nodes_for(&self, pod_spec: &Value) -> Vec<&'a str> {
        self.nodes.iter().map(String::as_str).filter(|node| fits(node, pod_spec)).collect()
    }

    /// A new pod or ReplicaSet of `owner`. Its API server may refuse it, as any other; then it stays missing.
    pub(super) fn create(&mut self, resource: &'static ResourceType, kind: &str, owner: &Value, mut object: Value) {
        let metadata = &owner["metadata"];
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"],
            "controller": true, "blockOwnerDeletion": true,
        }]);
        let _ = write(resource, &metadata["namespace"], "", None, self.now).create(self.store, object);
    }

    /// Deletes an object; a pod on a node may take its time.
    pub(super) fn delete(&mut self, resource: &'static ResourceType, object: &Value, options: &Value) {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let _ = write(resource, &metadata["namespace"], name, None, self.now).delete(self.store, options);
    }

    /// Writes an object as it should be; nothing where it is so already.
    pub(super) fn replace(&mut self, resource: &'static ResourceType, object: Value) {
        self.put(resource, None, object);
    }

    /// Writes the status of an object.
    pub(super) fn replace_status(&mut self, resource: &'static ResourceType, object: Value) {
        self.put(resource, Some("status"), object);
    }

    fn put(&mut self, resource: &'static ResourceType, subresource: Option<&str>, object: Value) {
        let (namespace, name) = (object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone());
        let name = name.as_str().unwrap_or_default();
        // Most often nothing has changed, and a write that changes nothing costs as much as any other.
        if self.store.get(&Key::of(resource, namespace.as_str(), name)).is_some_and(|live| **live == object) {
            return;
        }
        let _ = write(resource, &namespace, name, subresource, self.now).update(self.store, Change::Replace(object));
    }

    /// Deletes what a workload owned that is gone.
    pub(super) fn collect_garbage(&mut self) {
        loop {
            let snapshot = self.store.snapshot();
            let mut alive = BTreeSet::new();
            for resource in [&DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS] {
                let prefix = Key::prefix(resource, None);
                alive.extend(snapshot.list(&prefix, None).map(|(_, object)| object["metadata"]["uid"].to_string()));
            }
            let mut garbage = Vec::new();
            for resource in [&REPLICA_SETS, &PODS] {
                let prefix = Key::prefix(resource, None);
                for (_, object) in snapshot.list(&prefix, None) {
                    let owner = controller_of(object).filter(|owner| owner["apiVersion"] == "apps/v1");
                    let is_orphan = owner.is_some_and(|owner| !alive.contains(&owner["uid"].to_string()));
                    if is_orphan && object["metadata"]["deletionTimestamp"].is_null() {
                        garbage.push((resource, Arc::clone(object)));
                    }
                }
            }
            if garbage.is_empty() {
                return;
            }
            // Their own pods are garbage then, too.
            for (resource, object) in garbage {
                self.delete(resource, &object, &Value::Null);
            }
        }
    }
}

/// All labels of a node are its name.
fn fits(node: &str, pod_spec: &Value) -> bool {
    let selector = pod_spec["nodeSelector"].as_object();
    selector.into_iter().flatten().all(|(key, value)| key == "kubernetes.io/hostname" && *value == node)
}

fn write<'a>(
    resource: &'static ResourceType,
    namespace: &'a Value,
    name: &'a str,
    subresource: Option<&'a str>,
    now: Timestamp,
) -> Write<'a> {
    let namespace = namespace.as_str();
    Write { resource, namespace, name, subresource, manager: MANAGER, now, dry_run: false, denial: None }
}
