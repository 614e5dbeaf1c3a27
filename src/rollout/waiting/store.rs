//! The ConfigMap, and what it held when this process last read or wrote it.
//!
//! What is known here may be outdated. That costs a write that was not needed, or an entry that a later look removes;
//! a decision to restart rests on the workload alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{KeptRecord, PUSH, RECORD, WaitingPush};
use super::unseen::{UNSEEN, UnseenPush};
use crate::cluster::{ApiError, Cluster};
use crate::configmap_store::{ConfigMapStore, Snapshot, StoreError, Values};
use crate::rollout::FollowingLabel;
use crate::workload::{WorkloadRef, is_namespace_name, is_object_name};

/// What waits, in its ConfigMap.
#[derive(Debug)]
pub struct Waiting {
    store: ConfigMapStore,
    following_label: FollowingLabel,
    view: Mutex<Arc<View>>,
    /// When the last read began, whether or not it succeeded. Held while one is under way, so that callers share it.
    read: tokio::sync::Mutex<Option<Instant>>,
    /// Why the ConfigMap may not be read. Then nothing may wait in it: nobody would find it.
    forbidden: Mutex<Option<String>>,
    /// Why what is known may be outdated: the last read failed, or there was none.
    unread: Mutex<Option<String>>,
}

/// The ConfigMap at one moment.
#[derive(Debug, Default)]
pub struct View {
    /// Its resourceVersion, which rises with each write.
    version: Option<u64>,
    workloads: HashMap<WorkloadRef, OfWorkload>,
    unseen: Vec<UnseenPush>,
    /// The keys whose values cannot be read. They are left as they are.
    unreadable: Vec<String>,
}

/// What stands there of one workload.
#[derive(Debug, Default)]
pub struct OfWorkload {
    /// The pushes that wait for it.
    pub pushes: Vec<WaitingPush>,
    /// Its record, where the pod template does not keep it.
    pub kept: Option<KeptRecord>,
}

/// Changes that are written together.
#[derive(Debug, Default)]
pub struct Changes {
    /// Pushes that wait from now on.
    pub waits: Vec<WaitingPush>,
    /// Pushes that wait for a part of the scope from now on.
    pub unseen: Vec<UnseenPush>,
    /// Records to keep.
    pub keeps: Vec<KeptRecord>,
    /// Keys of what is done.
    pub done: Vec<String>,
}

impl Waiting {
    /// Over this ConfigMap. No call is made; it need not exist.
    pub fn new(cluster: Cluster, namespace: &str, name: &str) -> Self {
        let store = ConfigMapStore::new(cluster, namespace, name);
        let unread = Mutex::new(Some(format!("the ConfigMap {store} has not been read yet")));
        Self {
            store,
            following_label: FollowingLabel::new(namespace, name),
            view: Mutex::default(),
            read: tokio::sync::Mutex::default(),
            forbidden: Mutex::default(),
            unread,
        }
    }

    /// The label of what this installation follows: all its replicas share the ConfigMap.
    pub fn following_label(&self) -> &FollowingLabel {
        &self.following_label
    }

    /// The ConfigMap as it was last read or written. No call.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock())
    }

    /// Why [`Self::view`] may be outdated; `None` where the last read succeeded.
    pub fn unread(&self) -> Option<String> {
        self.unread.lock().clone()
    }

    /// Reads the ConfigMap.
    ///
    /// # Errors
    /// [`StoreError::Api`]; what was known stays.
    pub async fn refresh(&self) -> Result<Arc<View>, StoreError> {
        self.refresh_since(Instant::now()).await
    }

    /// Reads the ConfigMap, unless a read has begun after `at`.
    ///
    /// # Errors
    /// As of [`Self::refresh`].
    pub async fn refresh_since(&self, at: Instant) -> Result<Arc<View>, StoreError> {
        let mut read = self.read.lock().await;
        if read.is_none_or(|began| began < at) {
            *read = Some(Instant::now());
            let snapshot = self.store.snapshot().await;
            let is_forbidden =
                |error: &&StoreError| matches!(error, StoreError::Api { source: ApiError::Forbidden(_), .. });
            *self.forbidden.lock() = snapshot.as_ref().err().filter(is_forbidden).map(ToString::to_string);
            *self.unread.lock() = snapshot.as_ref().err().map(ToString::to_string);
            self.replace(snapshot?.as_ref());
        }
        Ok(self.view())
    }

    /// Writes the changes in one request.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was written.
    pub async fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let forbidden =
            self.forbidden.lock().clone().filter(|_| !(changes.waits.is_empty() && changes.unseen.is_empty()));
        if let Some(reason) = forbidden {
            return Err(StoreError::Api { config_map: self.to_string(), source: ApiError::Forbidden(reason) });
        }
        let mut set = Values::new();
        set.extend(changes.waits.iter().map(|waits| (waits.key(), encode(waits))));
        set.extend(changes.unseen.iter().map(|unseen| (unseen.key(), encode(unseen))));
        set.extend(changes.keeps.iter().map(|kept| (kept.key(), encode(kept))));
        let stored = self.store.update(&set, &changes.done).await?;
        self.replace(stored.as_ref());
        Ok(())
    }

    /// A read that a write has overtaken must not bring old values back.
    fn replace(&self, snapshot: Option<&Snapshot>) {
        let new = snapshot.map_or_else(View::default, View::of);
        let mut view = self.view.lock();
        if new.version.is_none() || view.version <= new.version {
            let news: Vec<_> = new.unreadable.iter().filter(|key| !view.unreadable.contains(key)).cloned().collect();
            if !news.is_empty() {
                tracing::warn!(
                    keys = news.join(","),
                    "entries of the ConfigMap {} cannot be read and are left as they are",
                    self.store
                );
            }
            *view = Arc::new(new);
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl View {
    fn of(snapshot: &Snapshot) -> Self {
        let mut view = Self { version: snapshot.resource_version.parse().ok(), ..Self::default() };
        for (key, value) in &snapshot.values {
            let found_under = Some(Box::<str>::from(key.as_str()));
            let is_read = if key.starts_with(PUSH) {
                let push = decode::<WaitingPush>(value).filter(|push| can_exist(&push.workload));
                push.map(|mut push| {
                    push.push.found_under = found_under;
                    view.of_workload(&push.workload.clone()).pushes.push(push);
                })
            } else if key.starts_with(UNSEEN) {
                decode::<UnseenPush>(value).map(|mut unseen| {
                    unseen.push.found_under = found_under;
                    view.unseen.push(unseen);
                })
            } else if key.starts_with(RECORD) {
                let kept = decode::<KeptRecord>(value).filter(|kept| can_exist(&kept.workload));
                kept.map(|kept| {
                    let workload = kept.workload.clone();
                    view.of_workload(&workload).kept = Some(kept);
                })
            } else {
                // Of another version of pushroll.
                Some(())
            };
            if is_read.is_none() {
                view.unreadable.push(key.clone());
            }
        }
        view
    }

    fn of_workload(&mut self, workload: &WorkloadRef) -> &mut OfWorkload {
        self.workloads.entry(workload.clone()).or_default()
    }

    /// What stands there of a workload.
    pub fn get(&self, workload: &WorkloadRef) -> Option<&OfWorkload> {
        self.workloads.get(workload)
    }

    /// The pushes that wait for a workload.
    pub fn pushes(&self, workload: &WorkloadRef) -> &[WaitingPush] {
        self.get(workload).map_or(&[], |of| &of.pushes)
    }

    /// The pushes that wait for a part of the scope.
    pub fn unseen(&self) -> &[UnseenPush] {
        &self.unseen
    }

    /// Each workload of which something stands there.
    pub fn iter(&self) -> impl Iterator<Item = (&WorkloadRef, &OfWorkload)> {
        self.workloads.iter()
    }
}

impl Changes {
    /// Adds `other`.
    pub fn extend(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.unseen.extend(other.unseen);
        self.keeps.extend(other.keeps);
        self.done.extend(other.done);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.unseen.is_empty() && self.keeps.is_empty() && self.done.is_empty()
    }
}

/// Names become parts of paths at the API server. Somebody may have written this entry by hand.
fn can_exist(workload: &WorkloadRef) -> bool {
    is_namespace_name(&workload.namespace) && is_object_name(&workload.name)
}

fn encode(entry: &impl Serialize) -> Vec<u8> {
    // Strings and times: nothing that JSON cannot hold.
    serde_json::to_vec(entry).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}
