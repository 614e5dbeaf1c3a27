//! The scan: which workloads run which images, from a LIST of every kind. It is complete, or an error.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cluster::{ApiError, Cluster};
use crate::index::Scope;
use crate::index::document::{Head, Images};
use crate::workload::WorkloadKind;

/// What a scan has found, and when it began.
#[derive(Debug)]
pub struct Scan {
    /// Image references as they are written, with the workloads that run them.
    pub images: Images,
    /// The namespaces that it has seen, and a time by the API server's clock just before it began.
    pub head: Head,
    /// When it began.
    pub began: Instant,
}

/// Why there is no scan.
#[derive(Debug, thiserror::Error)]
#[error("the scan failed at the {} of {}: {source}", kind.plural(), namespace.as_deref().unwrap_or("all namespaces"))]
pub struct ScanError {
    kind: WorkloadKind,
    namespace: Option<String>,
    /// What the API server answered.
    #[source]
    pub source: ApiError,
}

/// Lists every kind in every namespace of `scope`.
///
/// `as_of` is the API server's time of its last answer before the first LIST, so a caller makes a call just before (the
/// GET of the ConfigMap). It is unknown where there was no such answer, or where the API server's clock was further than
/// `clock_margin` from ours.
///
/// # Errors
/// The first LIST that failed.
pub async fn scan(cluster: &Cluster, scope: &Scope, clock_margin: Duration) -> Result<Scan, ScanError> {
    let as_of: Option<Timestamp> = cluster.server_clock().passed(clock_margin);
    let began = Instant::now();
    let [deployments, stateful_sets, daemon_sets] = WorkloadKind::ALL.map(|kind| list(cluster, kind, scope));
    let (mut images, stateful_sets, daemon_sets) = tokio::try_join!(deployments, stateful_sets, daemon_sets)?;
    for (image, workloads) in stateful_sets.into_iter().chain(daemon_sets) {
        images.entry(image).or_default().extend(workloads);
    }
    Ok(Scan { images, head: Head { as_of, scope: Some(scope.clone()) }, began })
}

async fn list(cluster: &Cluster, kind: WorkloadKind, scope: &Scope) -> Result<Images, ScanError> {
    let mut images = Images::new();
    for namespace in scope.namespaces() {
        let mut found: Vec<(Box<str>, crate::workload::WorkloadRef)> = Vec::new();
        let listed = cluster.list_images(kind, namespace, |item| match item {
            None => found.clear(),
            Some((image, workload)) => found.push((image.into(), workload)),
        });
        listed.await.map_err(|source| ScanError { kind, namespace: namespace.map(str::to_owned), source })?;
        for (image, workload) in found {
            images.entry(image).or_default().insert(workload);
        }
    }
    Ok(images)
}
