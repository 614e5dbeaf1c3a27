//! The workloads as a watch has last told of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::workloads::WorkloadObject;
use crate::workload::{WorkloadKind, WorkloadRef};

type Objects = HashMap<WorkloadRef, Arc<WorkloadObject>, foldhash::fast::RandomState>;

/// Objects by name; empty where nothing is watched. Any of them may be old news: a PATCH with its resourceVersion as
/// precondition finds out.
#[derive(Debug, Default)]
pub struct WatchedWorkloads(RwLock<Objects>);

impl WatchedWorkloads {
    /// The object as it was last seen.
    pub fn get(&self, workload: &WorkloadRef) -> Option<Arc<WorkloadObject>> {
        self.0.read().get(workload).cloned()
    }

    /// Those that have a label, at one moment.
    pub fn labelled(&self, label: &str) -> Vec<(WorkloadRef, Arc<WorkloadObject>)> {
        let objects = self.0.read();
        let labelled = objects.iter().filter(|(_, object)| object.metadata.labels.contains_key(label));
        labelled.map(|(workload, object)| (workload.clone(), Arc::clone(object))).collect()
    }

    /// Every object, at one moment.
    pub fn all(&self) -> Vec<(WorkloadRef, Arc<WorkloadObject>)> {
        let objects = self.0.read();
        objects.iter().map(|(workload, object)| (workload.clone(), Arc::clone(object))).collect()
    }

    /// Takes in an object; says whether it runs other images than before.
    pub fn apply(&self, workload: WorkloadRef, object: Arc<WorkloadObject>) -> bool {
        let mut objects = self.0.write();
        let before = objects.insert(workload, Arc::clone(&object));
        !before.is_some_and(|before| {
            let [before, now] = [&before, &object].map(|object| object.spec.template.spec.images().map(|i| i.image));
            before.eq(now)
        })
    }

    /// Takes in what an object has become by our own PATCH at `resource_version`, ahead of the watch. Not where the
    /// watch has told of it since: then that is as new, or it is gone.
    pub(super) fn patched(
        &self,
        workload: &WorkloadRef,
        resource_version: &str,
        object: impl FnOnce() -> Option<WorkloadObject>,
    ) {
        let is_as_before = |watched: &WorkloadObject| watched.metadata.resource_version == resource_version;
        if !self.get(workload).is_some_and(|watched| is_as_before(&watched)) {
            return;
        }
        let Some(object) = object() else { return };
        let mut objects = self.0.write();
        if let Some(watched) = objects.get_mut(workload).filter(|watched| is_as_before(watched)) {
            *watched = Arc::new(object);
        }
    }

    /// Forgets one; says whether there was one.
    pub fn remove(&self, workload: &WorkloadRef) -> bool {
        self.0.write().remove(workload).is_some()
    }

    /// What a LIST of a kind has given, in a namespace or in all, takes the place of what there was of it.
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
