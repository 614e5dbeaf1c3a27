//! Follows one rollout to its end, for a person who waits: a GET at intervals and, while it is under way, LISTs of its
//! pods.
//!
//! It does not wait where the end cannot come by itself: a paused Deployment, and pods that are replaced only when
//! somebody deletes them.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;

use super::look::look_at_pods;
use super::pods::RestartOf;
use crate::cluster::{ApiError, Cluster, WorkloadObject};
use crate::ending::Ending;
use crate::rollout::RESTARTED_AT_ANNOTATION;
use crate::rollout::progress::{Progress, progress};
use crate::workload::WorkloadRef;

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

/// Between two looks at one workload.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest pause between two LISTs of its pods.
const PODS_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Waits until one rollout ends, at most until `deadline`. A look that has not returned by then is given up.
/// `restarted_at` is the template's, as our PATCH has made it. `permits` limits the looks at once, over all workloads.
pub async fn wait(
    cluster: &Cluster,
    workload: &WorkloadRef,
    restarted_at: Option<&str>,
    permits: &Semaphore,
    deadline: Instant,
) -> Rollout {
    let began = Instant::now();
    let mut look = Look { cluster, workload, restarted_at, permits, pods_pause: INTERVAL, next_pods: began };
    let ended = |ending, reason| Rollout { workload: workload.clone(), ending, reason };
    let mut last_seen = "the API server has not answered".to_owned();
    while let Ok(looked) = tokio::time::timeout_at(deadline.into(), look.again()).await {
        last_seen = match looked {
            Ok(Progress::Ended(ending, reason)) => return ended(ending, reason),
            Ok(Progress::Paused) => return ended(Ending::Unknown, "it is paused: it rolls on resume".to_owned()),
            Ok(Progress::UnderWay(missing)) => missing,
            Err(ApiError::NotFound(_)) => return ended(Ending::Gone, "it was deleted meanwhile".to_owned()),
            Err(error @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => {
                return ended(Ending::Unknown, error.to_string());
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
    ended(Ending::Unknown, reason)
}

struct Look<'a> {
    cluster: &'a Cluster,
    workload: &'a WorkloadRef,
    restarted_at: Option<&'a str>,
    permits: &'a Semaphore,
    pods_pause: Duration,
    next_pods: Instant,
}

impl Look<'_> {
    async fn again(&mut self) -> Result<Progress, ApiError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let object = self.cluster.get_workload(self.workload).await?;
        let restarted_at = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION).map(String::as_str);
        if self.restarted_at.is_some() && restarted_at != self.restarted_at {
            let reason = "it was restarted again, or its pod template was put back";
            return Ok(Progress::Ended(Ending::Superseded, reason.to_owned()));
        }
        let progress = progress(self.workload.kind, &object);
        if !matches!(progress, Progress::UnderWay(_)) || Instant::now() < self.next_pods {
            return Ok(progress);
        }
        let failing = self.failing_pod(&object).await;
        self.next_pods = Instant::now() + self.pods_pause;
        self.pods_pause = (self.pods_pause * 3 / 2).min(PODS_INTERVAL_MAX);
        Ok(failing.map_or(progress, |failing| Progress::Ended(Ending::Failed, failing)))
    }

    /// Why a new pod cannot start. Without the permission to list pods the progress deadline says it later.
    async fn failing_pod(&self, object: &WorkloadObject) -> Option<String> {
        let restart =
            RestartOf { workload: self.workload, uid: &object.metadata.uid, restarted_at: self.restarted_at? };
        let looked = look_at_pods(self.cluster, restart, &object.spec.selector, []).await;
        let looked = looked.inspect_err(|error| tracing::debug!(workload = %self.workload, "its pods: {error}"));
        looked.ok()?.0.failing
    }
}

/// To a tenth of a second: `300s`.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis((duration.as_secs_f64() * 10.0).round() as u64 * 100)
}
