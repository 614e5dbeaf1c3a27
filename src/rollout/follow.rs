//! Follows a rollout to its end: a GET at intervals, judged as `kubectl rollout status` does.
//!
//! Source: Kubernetes, `kubectl/pkg/polymorphichelpers/rollout_status.go`. Unlike kubectl it does not wait where the end
//! cannot come by itself: a paused Deployment, and pods that are replaced only when someone deletes them.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::cluster::WorkloadObject;
use crate::cluster::{ApiError, Cluster};
use crate::workload::{WorkloadKind, WorkloadRef};

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every pod is new and available.
    Complete,
    /// It does not end by itself, so it was not waited for.
    NotFollowed,
    /// It has failed, or the workload was deleted.
    Failed,
    /// It has not ended in time.
    TimedOut,
}

/// A rollout that was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// The workload that rolls.
    #[serde(flatten)]
    pub workload: WorkloadRef,
    /// How it ended.
    pub ending: Ending,
    /// The sentence for people.
    pub reason: String,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has ended.
    Ended(Ending, String),
    /// It has not ended; the text says what is missing.
    UnderWay(String),
}

/// Between two looks at one workload.
const INTERVAL: Duration = Duration::from_secs(1);

/// Follows one rollout until it ends, at most until `deadline`. A look that has not returned by then is given up.
/// `permits` limits the looks at once, over all workloads.
pub async fn follow(cluster: &Cluster, workload: &WorkloadRef, permits: &Semaphore, deadline: Instant) -> Rollout {
    let began = Instant::now();
    let ended = |ending, reason| Rollout { workload: workload.clone(), ending, reason };
    let mut last_seen = "the API server has not answered".to_owned();
    while let Ok(looked) = tokio::time::timeout_at(deadline.into(), look(cluster, workload, permits)).await {
        last_seen = match looked.map(|object| progress(workload.kind, &object)) {
            Ok(Progress::Ended(ending, reason)) => return ended(ending, reason),
            Ok(Progress::UnderWay(missing)) => missing,
            Err(ApiError::NotFound(_)) => return ended(Ending::Failed, "it was deleted meanwhile".to_owned()),
            Err(error @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => {
                return ended(Ending::Failed, error.to_string());
            }
            // The rollout continues anyway, and the next look may succeed.
            Err(error) => error.to_string(),
        };
        if deadline.saturating_duration_since(Instant::now()) <= INTERVAL {
            tokio::time::sleep_until(deadline.into()).await;
            break;
        }
        tokio::time::sleep(INTERVAL).await;
    }
    let reason = format!("it has not rolled out within {:?}: {last_seen}", rounded(deadline - began));
    ended(Ending::TimedOut, reason)
}

async fn look(cluster: &Cluster, workload: &WorkloadRef, permits: &Semaphore) -> Result<WorkloadObject, ApiError> {
    // The semaphore is never closed.
    let _permit = permits.acquire().await;
    cluster.get_workload(workload).await
}

/// To a tenth of a second: `300s`.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis((duration.as_secs_f64() * 10.0).round() as u64 * 100)
}

/// How far the rollout is, from the object as it is now. Pure.
pub fn progress(kind: WorkloadKind, object: &WorkloadObject) -> Progress {
    if object.metadata.deletion_timestamp.is_some() {
        return Progress::Ended(Ending::Failed, "it is being deleted".to_owned());
    }
    let is_on_delete = object.spec.update_strategy.as_ref().is_some_and(|strategy| strategy.kind == "OnDelete");
    if is_on_delete {
        return not_followed("its update strategy is OnDelete: its pods are replaced as they are deleted");
    }
    if object.spec.paused {
        return not_followed("it is paused: it rolls on resume");
    }
    if object.status.observed_generation < object.metadata.generation {
        return under_way("its controller has not seen the change yet");
    }
    match kind {
        WorkloadKind::Deployment => deployment(object),
        WorkloadKind::StatefulSet => stateful_set(object),
        WorkloadKind::DaemonSet => daemon_set(object),
    }
}

fn deployment(object: &WorkloadObject) -> Progress {
    let status = &object.status;
    if let Some(message) = &status.progress_deadline_exceeded {
        return Progress::Ended(Ending::Failed, format!("it has exceeded its progress deadline: {message}"));
    }
    let wanted = object.spec.replicas.unwrap_or(1);
    if status.updated_replicas < wanted {
        return under_way(format!("{} of {wanted} pods are new", status.updated_replicas));
    }
    if status.replicas > status.updated_replicas {
        return under_way(format!("{} old pods are still there", status.replicas - status.updated_replicas));
    }
    if status.available_replicas < status.updated_replicas {
        return under_way(format!(
            "{} of {} new pods are available",
            status.available_replicas, status.updated_replicas
        ));
    }
    complete(format!("{wanted} of {wanted} pods are new and available"))
}

fn stateful_set(object: &WorkloadObject) -> Progress {
    let status = &object.status;
    let wanted = object.spec.replicas.unwrap_or(1);
    if status.ready_replicas < wanted {
        return under_way(format!("{} of {wanted} pods are ready", status.ready_replicas));
    }
    let rolling_update = object.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling_update.and_then(|rolling_update| rolling_update.partition).unwrap_or(0);
    let to_update = (wanted - partition).max(0);
    if status.updated_replicas < to_update {
        return under_way(format!("{} of {to_update} pods are new", status.updated_replicas));
    }
    if partition > 0 {
        return complete(format!("{to_update} pods are new; its partition keeps those below ordinal {partition}"));
    }
    if status.update_revision != status.current_revision {
        return under_way(format!("{} of {wanted} pods are at its new revision", status.updated_replicas));
    }
    complete(format!("{wanted} of {wanted} pods are new and ready"))
}

fn daemon_set(object: &WorkloadObject) -> Progress {
    let status = &object.status;
    let wanted = status.desired_number_scheduled;
    if status.updated_number_scheduled < wanted {
        return under_way(format!("{} of {wanted} pods are new", status.updated_number_scheduled));
    }
    if status.number_available < wanted {
        return under_way(format!("{} of {wanted} new pods are available", status.number_available));
    }
    complete(format!("{wanted} of {wanted} pods are new and available"))
}

fn complete(reason: String) -> Progress {
    Progress::Ended(Ending::Complete, reason)
}

fn not_followed(reason: &str) -> Progress {
    Progress::Ended(Ending::NotFollowed, reason.to_owned())
}

fn under_way(missing: impl Into<String>) -> Progress {
    Progress::UnderWay(missing.into())
}
