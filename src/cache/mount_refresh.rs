//! Makes the kubelet show a changed ConfigMap at once.
//!
//! By itself the kubelet takes 30 to 80 s. It also looks at a pod's volumes when the pod changes. So the replica that has
//! written changed images sets an annotation on the pods whose label says that they mount the ConfigMap. The
//! annotation's value is the resourceVersion that was written: a pod that has this or a later one is left alone, and
//! nothing else here writes pods, so one change is one PATCH for each pod. A write that changes only the head is not
//! announced: it would be a PATCH of each pod every few minutes, for a time that the kubelet shows soon enough.

use std::ops::ControlFlow;

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::configmap::{CacheConfigMap, FIELD_MANAGER};
use crate::cluster::{ApiError, Cluster, PAGE_ITEMS};

/// On a pod: the name of the cache ConfigMap that it mounts.
const MOUNTS_LABEL: &str = "pushroll.dev/mounts";
/// On a pod: the resourceVersion of that ConfigMap of which it was last notified.
const REFRESHED_ANNOTATION: &str = "pushroll.dev/cache-refreshed";
/// How many pods are written at once.
const CONCURRENCY: usize = 16;

/// Why pods were not notified of a change.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The LIST of the pods failed.
    #[error(
        "the pods that mount the ConfigMap {config_map} were not notified of its change, and follow within 80 s: {source}"
    )]
    List {
        /// Which ConfigMap.
        config_map: String,
        /// Why.
        source: ApiError,
    },
    /// Some of the PATCHes failed.
    #[error(
        "{failed} of {pods} pods that mount the ConfigMap {config_map} were not notified of its change, and follow within \
         80 s; {pod}: {source}"
    )]
    Pods {
        /// Which ConfigMap.
        config_map: String,
        /// How many pods were not notified.
        failed: usize,
        /// Of how many.
        pods: usize,
        /// The first of them.
        pod: String,
        /// Why.
        source: ApiError,
    },
}

/// The last notification of the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MountRefreshStatus {
    /// When, by our clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<Timestamp>,
    /// How many pods were notified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Why some or all were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Notifies the pods of each change, one change after the other; of several changes meanwhile, of the last.
#[derive(Debug)]
pub(super) struct MountRefresher {
    /// The resourceVersion of the last change.
    changed: watch::Sender<Option<String>>,
    status: Mutex<MountRefreshStatus>,
}

/// Notifies the pods that mount `config_map` that it is at `resource_version`. Returns how many.
///
/// # Errors
/// [`RefreshError`]; pods that it does not count were notified.
pub async fn refresh_mounts(
    cluster: &Cluster,
    config_map: &CacheConfigMap,
    resource_version: &str,
) -> Result<usize, RefreshError> {
    let CacheConfigMap { namespace, name, .. } = config_map;
    let (mut pods, selector) = (Vec::new(), format!("{MOUNTS_LABEL}={name}"));
    let listed = cluster.list_pods(namespace, &selector, PAGE_ITEMS, |pod| {
        let known = pod.metadata.annotations.get(REFRESHED_ANNOTATION);
        if !pod.is_ending() && known.is_none_or(|known| number(known) < number(resource_version)) {
            pods.push(pod);
        }
        ControlFlow::Continue(())
    });
    listed.await.map_err(|source| RefreshError::List { config_map: config_map.to_string(), source })?;
    let names = pods.into_iter().map(|pod| pod.metadata.name);
    let notify = |name| notify(cluster.clone(), config_map.clone(), name, resource_version.to_owned());
    let calls: Vec<_> = names.map(notify).collect();
    let pods = calls.len();
    let answers = stream::iter(calls).buffer_unordered(CONCURRENCY);
    let failed: Vec<_> = answers.filter_map(std::future::ready).collect().await;
    let number_failed = failed.len();
    match failed.into_iter().next() {
        None => Ok(pods),
        Some((pod, source)) => {
            let config_map = config_map.to_string();
            Err(RefreshError::Pods { config_map, failed: number_failed, pods, pod, source })
        }
    }
}

/// Notifies one pod. Returns its name and the error where that failed.
async fn notify(
    cluster: Cluster,
    config_map: CacheConfigMap,
    pod: String,
    resource_version: String,
) -> Option<(String, ApiError)> {
    let annotation = (REFRESHED_ANNOTATION, resource_version.as_str());
    match cluster.annotate_pod(&config_map.namespace, &pod, FIELD_MANAGER, annotation).await {
        // The pod has ended meanwhile.
        Ok(()) | Err(ApiError::NotFound(_)) => None,
        Err(error) => Some((pod, error)),
    }
}

/// Versions are rising numbers (Kubernetes: API concepts, "Resource versions").
fn number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
}

impl MountRefresher {
    pub(super) fn new() -> Self {
        Self { changed: watch::Sender::new(None), status: Mutex::default() }
    }

    /// Has the pods notified of this change of the document; does not wait for it.
    pub(super) fn notify(&self, resource_version: String) {
        self.changed.send_replace(Some(resource_version));
    }

    pub(super) fn status(&self) -> MountRefreshStatus {
        self.status.lock().clone()
    }

    /// Notifies the pods of changes, for ever. Where that failed it is not tried again: the kubelet will have shown the
    /// change by then.
    pub(super) async fn run(&self, cluster: &Cluster, config_map: &CacheConfigMap) {
        let mut changes = self.changed.subscribe();
        let mut handled = None;
        loop {
            // The sender lives as long as this.
            let Ok(change) = changes.wait_for(|changed| *changed != handled).await.map(|changed| changed.clone())
            else {
                return;
            };
            if let Some(resource_version) = &change {
                let refreshed = refresh_mounts(cluster, config_map, resource_version).await;
                self.record(refreshed, cluster.clock().now());
            }
            handled = change;
        }
    }

    /// Keeps the status, and logs each different error once.
    fn record(&self, refreshed: Result<usize, RefreshError>, now: Timestamp) {
        let status = match refreshed {
            Ok(pods) => MountRefreshStatus { refreshed_at: Some(now), pods: Some(pods), error: None },
            Err(error) => MountRefreshStatus { error: Some(error.to_string()), ..self.status() },
        };
        let before = std::mem::replace(&mut *self.status.lock(), status.clone());
        match (before.error, status.error) {
            (before, Some(error)) if before.as_ref() != Some(&error) => tracing::warn!("{error}"),
            (Some(_), None) => {
                tracing::info!(pods = status.pods, "pods that mount the cache are notified of changes again")
            }
            (_, None) => tracing::debug!(pods = status.pods, "pods that mount the cache were notified of a change"),
            _ => {}
        }
    }
}
