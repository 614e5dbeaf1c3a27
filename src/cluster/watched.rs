//! The workloads as the watches last delivered them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Notify;

use super::watched_object::WatchedObject;
use super::workload_object::WorkloadObject;
use crate::workload::{WorkloadKind, WorkloadRef};

type Objects = HashMap<WorkloadRef, WatchedObject>;

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
        let object = self.objects.read().get(workload).cloned();
        object?.decode().map(Arc::new)
    }

    /// The objects whose rollouts are followed.
    pub fn followed(&self) -> Vec<(WorkloadRef, WatchedObject)> {
        self.snapshot(WatchedObject::is_followed)
    }

    /// Waits until an object whose rollout is followed, or was, has changed.
    pub async fn followed_changed(&self) {
        self.followed_changed.notified().await;
    }

    /// Every object, all as of one moment, decoded one by one.
    pub fn all(&self) -> impl Iterator<Item = (WorkloadRef, Arc<WorkloadObject>)> + use<> {
        let objects = self.snapshot(|_| true).into_iter();
        objects.filter_map(|(workload, object)| Some((workload, Arc::new(object.decode()?))))
    }

    fn snapshot(&self, is_wanted: impl Fn(&WatchedObject) -> bool) -> Vec<(WorkloadRef, WatchedObject)> {
        let objects = self.objects.read();
        let wanted = objects.iter().filter(|(_, object)| is_wanted(object));
        wanted.map(|(workload, object)| (workload.clone(), object.clone())).collect()
    }

    /// Stores an object. Returns whether it runs other images than before.
    pub fn apply(&self, workload: WorkloadRef, object: WatchedObject) -> bool {
        let before = self.objects.write().insert(workload, object.clone());
        if before.as_ref().is_some_and(WatchedObject::is_followed) || object.is_followed() {
            self.followed_changed.notify_one();
        }
        !before.is_some_and(|before| before.has_images_of(&object))
    }

    /// Stores an object as our own PATCH of `resource_version` has made it, before the watch delivers it. If the watch
    /// has delivered a change or a deletion since, that is as new and stays. `stored` decodes it, where it is wanted.
    pub(super) fn patched(
        &self,
        workload: &WorkloadRef,
        resource_version: &str,
        stored: impl FnOnce() -> Option<WorkloadObject>,
    ) {
        let is_as_before = |watched: &WatchedObject| {
            watched.decode().is_some_and(|watched| watched.metadata.resource_version == resource_version)
        };
        if !self.objects.read().get(workload).is_some_and(is_as_before) {
            return;
        }
        let Some(stored) = stored().and_then(|stored| WatchedObject::new(&stored).ok()) else { return };
        let is_followed = stored.is_followed();
        let mut objects = self.objects.write();
        if let Some(watched) = objects.get_mut(workload).filter(|watched| is_as_before(watched)) {
            *watched = stored;
        }
        drop(objects);
        if is_followed {
            self.followed_changed.notify_one();
        }
    }

    /// Removes an object. Returns whether it was there.
    pub fn remove(&self, workload: &WorkloadRef) -> bool {
        let removed = self.objects.write().remove(workload);
        if removed.as_ref().is_some_and(WatchedObject::is_followed) {
            self.followed_changed.notify_one();
        }
        removed.is_some()
    }

    /// Replaces the objects of a kind, in a namespace or in all, by those of a LIST.
    pub fn replace(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        listed: impl IntoIterator<Item = (WorkloadRef, WatchedObject)>,
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
