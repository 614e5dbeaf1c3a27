//! What makes pods of workloads, as kube-controller-manager and kube-scheduler do, as far as rollouts need it.
//!
//! Every change wakes the controllers, which look at the workload that the change concerns. They write past
//! the faults: an outage does not keep them from working.
//!
//! Not here: `maxSurge` of a DaemonSet, `maxUnavailable` of a StatefulSet, proportional scaling of a Deployment,
//! Jobs, Services, and adoption of pods without an owner.

mod cluster;
mod conditions;
mod daemon_set;
mod deployment;
mod pods;
mod replica_set;
mod stateful_set;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::kubernetes::EmbeddedKubernetes;
use super::resource::{DAEMON_SETS, DEPLOYMENTS, PODS, REPLICA_SETS, ResourceType, STATEFUL_SETS};
use super::store::Key;
use cluster::{Cluster, Nodes, Templates};

type ImageIds = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Controllers for Deployments, ReplicaSets, StatefulSets and DaemonSets; a scheduler; and garbage collection of what
/// a deleted workload owned.
///
/// Without [`Self::with_ready_pods`] the pods stay `Pending` until somebody writes their status.
#[derive(Clone)]
pub struct Controllers {
    nodes: Nodes,
    image_ids: Option<ImageIds>,
}

/// What a pod belongs to in the end, and how far its controller has to look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    plural: &'static str,
    namespace: String,
    name: String,
}

// === impl Controllers ===

impl Controllers {
    /// Controllers of a cluster with these nodes. They are names alone: there are no `Node` objects.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { nodes: nodes.into_iter().map(Into::into).collect(), image_ids: None }
    }

    /// Makes every pod ready at once, its containers with the `imageID` that the function gives for their image; and
    /// removes pods that are being deleted.
    #[must_use]
    pub fn with_ready_pods(mut self, image_id: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.image_ids = Some(Arc::new(image_id));
        self
    }

    /// Runs the controllers until `shutdown`.
    pub async fn run(self, kubernetes: &EmbeddedKubernetes, shutdown: impl Future<Output = ()>) {
        let work = async {
            let mut revisions = kubernetes.state.store().subscribe();
            let mut templates = Templates::default();
            let mut seen = None;
            // A pass looks only at what has changed, so a later one must not lose it.
            let mut wake_at: Option<Timestamp> = None;
            loop {
                revisions.mark_unchanged();
                let again = self.work_through(kubernetes, &mut templates, &mut seen);
                wake_at = wake_at.into_iter().chain(again).min();
                let now = kubernetes.now();
                let pause = async {
                    match wake_at {
                        Some(at) => tokio::time::sleep(at.duration_since(now).unsigned_abs()).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = revisions.changed() => if changed.is_err() { return },
                    () = pause => (seen, wake_at) = (None, None),
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown => {}
        }
    }

    /// One pass over what has changed since `seen`, or over everything. When to look again without a change.
    fn work_through(
        &self,
        kubernetes: &EmbeddedKubernetes,
        templates: &mut Templates,
        seen: &mut Option<u64>,
    ) -> Option<Timestamp> {
        let now = kubernetes.now();
        let mut store = kubernetes.state.store();
        let mut roots = BTreeSet::new();
        let mut changed_pods = Vec::new();
        let mut is_garbage_possible = false;
        match seen.and_then(|seen| store.changes_after(seen)) {
            Some(changes) => {
                for change in changes {
                    let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { continue };
                    let Some(resource) = resource_of(&change.key) else { continue };
                    roots.extend(Root::of(resource, object));
                    is_garbage_possible |= resource.is_workload() && change.after.is_none();
                    if resource.plural == PODS.plural {
                        changed_pods.extend(change.after.clone());
                    }
                }
            }
            None => {
                is_garbage_possible = true;
                let snapshot = store.snapshot();
                for resource in [&DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS] {
                    let prefix = Key::prefix(resource, None);
                    roots.extend(snapshot.list(&prefix, None).filter_map(|(_, object)| Root::of(resource, object)));
                }
                let prefix = Key::prefix(&PODS, None);
                changed_pods.extend(snapshot.list(&prefix, None).map(|(_, pod)| Arc::clone(pod)));
            }
        }
        *seen = Some(store.revision());
        let mut cluster = Cluster::new(&mut store, now, &self.nodes, templates);
        if is_garbage_possible {
            cluster.collect_garbage();
        }
        for root in roots {
            root.sync(&mut cluster);
        }
        if let Some(image_ids) = &self.image_ids {
            for pod in changed_pods {
                pods::make_ready(&mut cluster, &pod, image_ids.as_ref());
            }
        }
        cluster.wake_at()
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controllers").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

fn resource_of(key: &Key) -> Option<&'static ResourceType> {
    let all = [&DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS, &PODS];
    all.into_iter().find(|resource| key.after(&Key::prefix(resource, None)).is_some())
}

// === impl Root ===

impl Root {
    /// The workload to look at when this object has changed.
    fn of(resource: &'static ResourceType, object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str()?.to_owned();
        let (plural, name) = match cluster::controller_of(object) {
            Some(owner) => {
                let kinds = [&DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS];
                let kind = kinds.into_iter().find(|kind| owner["kind"] == kind.kind)?;
                (kind.plural, owner["name"].as_str()?)
            }
            None if resource.plural == PODS.plural => return None,
            None => (resource.plural, metadata["name"].as_str()?),
        };
        Some(Self { plural, namespace, name: name.to_owned() })
    }

    fn sync(&self, cluster: &mut Cluster<'_>) {
        let find = |cluster: &Cluster<'_>, resource| cluster.get(resource, &self.namespace, &self.name);
        match self.plural {
            plural if plural == DEPLOYMENTS.plural => {
                if let Some(deployment) = find(cluster, &DEPLOYMENTS) {
                    deployment::sync(cluster, &deployment);
                }
            }
            plural if plural == REPLICA_SETS.plural => {
                if let Some(set) = find(cluster, &REPLICA_SETS) {
                    replica_set::sync(cluster, &set);
                }
            }
            plural if plural == STATEFUL_SETS.plural => {
                if let Some(set) = find(cluster, &STATEFUL_SETS) {
                    stateful_set::sync(cluster, &set);
                }
            }
            _ => {
                if let Some(set) = find(cluster, &DAEMON_SETS) {
                    daemon_set::sync(cluster, &set);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
