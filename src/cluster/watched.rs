//! The workloads as the watches last delivered them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Notify;

use super::workload_object::WorkloadObject;
use crate::workload::{WorkloadKind, WorkloadRef};

type Objects = HashMap<WorkloadRef, Arc<WorkloadObject>>;

/// Objects by name; empty where nothing is watched. Any of them may be outdated: a PATCH with its resourceVersion as
/// precondition finds that out.
#[derive(Debug, Default)]
pub struct WatchedWorkloads {
    objects: RwLock<Objects>,
    /// An object that is followed, or was, is new, has changed, or is gone.
    followed_changed: Notify,
}

impl WatchedWorkloads {
    /// The object as it was last seen.
    pub fn get(&self, workload: &WorkloadRef) -> Option<Arc<WorkloadObject>> {
        self.objects.read().get(workload).cloned()
    }

    /// The objects whose rollouts are followed.
    pub fn followed(&self) -> Vec<(WorkloadRef, Arc<WorkloadObject>)> {
        let objects = self.objects.read();
        let followed = objects.iter().filter(|(_, object)| object.following().is_some());
        followed.map(|(workload, object)| (workload.clone(), Arc::clone(object))).collect()
    }

    /// Waits until an object whose rollout is followed, or was, has changed.
    pub async fn followed_changed(&self) {
        self.followed_changed.notified().await;
    }

    /// Every object, all as of one moment.
    pub fn all(&self) -> Vec<(WorkloadRef, Arc<WorkloadObject>)> {
        let objects = self.objects.read();
        objects.iter().map(|(workload, object)| (workload.clone(), Arc::clone(object))).collect()
    }

    /// Stores an object. Returns whether it runs other images than before.
    pub fn apply(&self, workload: WorkloadRef, object: Arc<WorkloadObject>) -> bool {
        let before = self.objects.write().insert(workload, Arc::clone(&object));
        if [before.as_ref(), Some(&object)].into_iter().flatten().any(|object| object.following().is_some()) {
            self.followed_changed.notify_one();
        }
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
        let is_followed = stored.following().is_some();
        let mut objects = self.objects.write();
        if let Some(watched) = objects.get_mut(workload).filter(|watched| is_as_before(watched)) {
            *watched = Arc::new(stored);
        }
        drop(objects);
        if is_followed {
            self.followed_changed.notify_one();
        }
    }

    /// Removes an object. Returns whether it was there.
    pub fn remove(&self, workload: &WorkloadRef) -> bool {
        let removed = self.objects.write().remove(workload);
        if removed.as_ref().is_some_and(|object| object.following().is_some()) {
            self.followed_changed.notify_one();
        }
        removed.is_some()
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
        let mut objects = self.objects.write();
        objects.retain(|workload, _| !is_of_list(workload));
        objects.extend(listed);
        drop(objects);
        self.followed_changed.notify_one();
    }
}
