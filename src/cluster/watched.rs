//! The workloads as the watches last delivered them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::workload_object::WorkloadObject;
use crate::workload::{WorkloadKind, WorkloadRef};

type Objects = HashMap<WorkloadRef, Arc<WorkloadObject>>;

/// Objects by name; empty where nothing is watched. Any of them may be outdated: a PATCH with its resourceVersion as
/// precondition finds that out.
#[derive(Debug, Default)]
pub struct WatchedWorkloads(RwLock<Objects>);

impl WatchedWorkloads {
    /// The object as it was last seen.
    pub fn get(&self, workload: &WorkloadRef) -> Option<Arc<WorkloadObject>> {
        self.0.read().get(workload).cloned()
    }

    /// Every object, all as of one moment.
    pub fn all(&self) -> Vec<(WorkloadRef, Arc<WorkloadObject>)> {
        let objects = self.0.read();
        objects.iter().map(|(workload, object)| (workload.clone(), Arc::clone(object))).collect()
    }

    /// Stores an object. Returns whether it runs other images than before.
    pub fn apply(&self, workload: WorkloadRef, object: Arc<WorkloadObject>) -> bool {
        let mut objects = self.0.write();
        let before = objects.insert(workload, Arc::clone(&object));
        !before.is_some_and(|before| {
            let [before, now] = [&before, &object].map(|object| object.spec.template.spec.images().map(|i| i.image));
            before.eq(now)
        })
    }

    /// Stores an object as our own PATCH of `resource_version` has made it, before the watch delivers it. If the watch
    /// has delivered a change or a deletion since, that is as new and stays. `stored` decodes it, where it is wanted.
    pub(super) fn patched(
        &self,
        workload: &WorkloadRef,
        resource_version: &str,
        stored: impl FnOnce() -> Option<WorkloadObject>,
    ) {
        let is_as_before = |watched: &WorkloadObject| watched.metadata.resource_version == resource_version;
        if !self.get(workload).is_some_and(|watched| is_as_before(&watched)) {
            return;
        }
        let Some(stored) = stored() else { return };
        let mut objects = self.0.write();
        if let Some(watched) = objects.get_mut(workload).filter(|watched| is_as_before(watched)) {
            *watched = Arc::new(stored);
        }
    }

    /// Removes an object. Returns whether it was there.
    pub fn remove(&self, workload: &WorkloadRef) -> bool {
        self.0.write().remove(workload).is_some()
    }

    /// Replaces the objects of a kind, in a namespace or in all, by those of a LIST.
    pub fn replace(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        listed: impl IntoIterator<Item = (WorkloadRef, Arc<WorkloadObject>)>,
    ) {
        let is_of_list = |workload: &WorkloadRef| {
            workload.kind == kind && namespace.is_none_or(|namespace| namespace == &*workload.namespace)
        };
        let mut objects = self.0.write();
        objects.retain(|workload, _| !is_of_list(workload));
        objects.extend(listed);
    }
}
