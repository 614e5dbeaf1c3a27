//! Having the kubelet show a changed ConfigMap at once.
//!
//! By itself it takes 30 to 80 s; a change of the pod makes it look at the pod's volumes. So whoever has written a changed
//! document sets an annotation on the pods that say by a label that they mount it. Its value is the resourceVersion that
//! was written: a pod that has it, or a later one, is left alone, and nothing here looks at pods for any other reason, so
//! one change is one PATCH a pod and then silence. A document that was written for its head alone is no change: pods would
//! be written every few minutes for a time that the kubelet brings soon enough.

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::configmap::{CacheConfigMap, FIELD_MANAGER};
use super::resolver::Resolver;
use crate::cluster::{ApiError, Cluster, PodObject};

/// On a pod: the name of the cache ConfigMap that it mounts.
const MOUNTS_LABEL: &str = "pushroll.dev/mounts";
/// On a pod: the resourceVersion of that ConfigMap which it was told of.
const REFRESHED_ANNOTATION: &str = "pushroll.dev/cache-refreshed";
/// Pods that are written at once.
const CONCURRENCY: usize = 16;

/// Why pods do not hear of a change.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Which they are is not known.
    #[error(
        "the pods that mount the ConfigMap {config_map} were not told of its change, and follow within 80 s: {source}"
    )]
    List {
        /// Which ConfigMap.
        config_map: String,
        /// Why.
        source: ApiError,
    },
    /// Some of them.
    #[error(
        "{failed} of {pods} pods that mount the ConfigMap {config_map} were not told of its change, and follow within \
         80 s; {pod}: {source}"
    )]
    Pods {
        /// Which ConfigMap.
        config_map: String,
        /// How many were not.
        failed: usize,
        /// How many there are to tell.
        pods: usize,
        /// One of them.
        pod: String,
        /// Why that one was not.
        source: ApiError,
    },
}

/// How it went the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MountRefreshStatus {
    /// When, by our clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<Timestamp>,
    /// How many pods were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Why some, or all, were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Tells pods of each change, one change after the other; of several at once, the last.
#[derive(Debug)]
pub(super) struct MountRefresher {
    /// The resourceVersion of the last change.
    changed: watch::Sender<Option<String>>,
    status: Mutex<MountRefreshStatus>,
}

/// Tells the pods that mount `config_map` that it is at `resource_version`. Returns how many it has told.
///
/// # Errors
/// [`RefreshError`]; the others were told.
pub async fn refresh_mounts(
    cluster: &Cluster,
    config_map: &CacheConfigMap,
    resource_version: &str,
) -> Result<usize, RefreshError> {
    let CacheConfigMap { namespace, name, .. } = config_map;
    let listed = cluster.list_pods(namespace, (MOUNTS_LABEL, name)).await;
    let mut pods = listed.map_err(|source| RefreshError::List { config_map: config_map.to_string(), source })?;
    pods.retain(|pod| {
        let told = pod.metadata.annotations.get(REFRESHED_ANNOTATION);
        !pod.is_ending() && told.is_none_or(|told| number(told) < number(resource_version))
    });
    let tell =
        |pod: PodObject| tell(cluster.clone(), config_map.clone(), pod.metadata.name, resource_version.to_owned());
    let calls: Vec<_> = pods.into_iter().map(tell).collect();
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

/// Tells one pod. Gives its name and the error where that failed.
async fn tell(
    cluster: Cluster,
    config_map: CacheConfigMap,
    pod: String,
    resource_version: String,
) -> Option<(String, ApiError)> {
    let annotation = (REFRESHED_ANNOTATION, resource_version.as_str());
    match cluster.annotate_pod(&config_map.namespace, &pod, FIELD_MANAGER, annotation).await {
        // It ended meanwhile.
        Ok(()) | Err(ApiError::NotFound(_)) => None,
        Err(error) => Some((pod, error)),
    }
}

/// Versions are numbers that rise (Kubernetes: API concepts, "Resource versions").
fn number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
}

impl MountRefresher {
    pub(super) fn new() -> Self {
        Self { changed: watch::Sender::new(None), status: Mutex::default() }
    }

    /// The document was changed; returns at once.
    pub(super) fn changed(&self, resource_version: String) {
        self.changed.send_replace(Some(resource_version));
    }

    pub(super) fn status(&self) -> MountRefreshStatus {
        self.status.lock().clone()
    }

    /// Tells of changes for ever. One that failed is not told again: the kubelet will have shown it by then.
    pub(super) async fn run(&self, cluster: &Cluster, config_map: &CacheConfigMap) {
        let mut changes = self.changed.subscribe();
        let mut told = None;
        loop {
            // The sender lives as long as we do.
            let Ok(change) = changes.wait_for(|changed| *changed != told).await.map(|changed| changed.clone()) else {
                return;
            };
            if let Some(resource_version) = &change {
                let refreshed = refresh_mounts(cluster, config_map, resource_version).await;
                self.note(refreshed, cluster.clock().now());
            }
            told = change;
        }
    }

    /// Logs each different error once.
    fn note(&self, refreshed: Result<usize, RefreshError>, now: Timestamp) {
        let status = match refreshed {
            Ok(pods) => MountRefreshStatus { refreshed_at: Some(now), pods: Some(pods), error: None },
            Err(error) => MountRefreshStatus { error: Some(error.to_string()), ..self.status() },
        };
        let before = std::mem::replace(&mut *self.status.lock(), status.clone());
        match (before.error, status.error) {
            (before, Some(error)) if before.as_ref() != Some(&error) => tracing::warn!("{error}"),
            (Some(_), None) => {
                tracing::info!(pods = status.pods, "pods that mount the cache are told of changes again")
            }
            (_, None) => tracing::debug!(pods = status.pods, "pods that mount the cache were told of a change"),
            _ => {}
        }
    }
}

impl Resolver {
    /// The ConfigMap has another document, which we wrote.
    pub(super) fn tell_mounts(&self, resource_version: Option<String>) {
        if let (Some(refresher), Some(resource_version)) = (self.mount_refresher(), resource_version) {
            refresher.changed(resource_version);
        }
    }

    /// How telling the pods that mount the ConfigMap went; `None` where that is off.
    pub fn mount_refresh(&self) -> Option<MountRefreshStatus> {
        self.mount_refresher().map(MountRefresher::status)
    }

    pub(super) async fn refresh_mounts(&self) {
        if let Some(refresher) = self.mount_refresher() {
            refresher.run(self.cluster(), self.config_map()).await;
        }
    }
}
