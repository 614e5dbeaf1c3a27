//! One turn at a workload: a look at its rollout, in line behind the restarts of pushes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::context::{FIELD_MANAGER, FollowingContext};
use super::followed::{Followed, Notified};
use crate::cluster::workload_object::FOLLOWING_LABEL;
use crate::cluster::{ApiError, WatchedObject, WorkloadObject};
use crate::rollout::waiting::Waiting;
use crate::rollout::{OurRestart, RESTARTED_AT_ANNOTATION};
use crate::workload::WorkloadRef;

/// After a workload could not be looked at.
const RETRY: Duration = Duration::from_secs(1);
/// For so long a restart may be without its record, which another replica keeps beside the workload.
const RECORD_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// What a turn at a workload has come to.
#[derive(Debug)]
pub(super) struct Turned {
    pub(super) workload: WorkloadRef,
    pub(super) followed: Option<Followed>,
    /// The label of a rollout that is followed no further.
    pub(super) ended: Option<String>,
}

/// What is known of a workload before a turn.
#[derive(Debug)]
pub(super) enum Seen {
    /// The workload, listed or watched.
    Object(WatchedObject),
    /// The label that it has. A watch may not have delivered it yet.
    Label(String),
}

/// One turn at a workload, in line behind the restarts of pushes.
pub(super) async fn turn(
    context: Arc<FollowingContext>,
    waiting: Arc<Waiting>,
    workload: WorkloadRef,
    followed: Option<Followed>,
    seen: Seen,
    nobody_is_notified: bool,
) -> Turned {
    // Neither semaphore is ever closed.
    let _one = context.at_once.acquire().await;
    let _behind_restarts = context.restarter.permit().await;
    let (seen, label) = match seen {
        Seen::Object(object) => (object.decode(), None),
        Seen::Label(label) => (None, Some(label)),
    };
    let object = match seen {
        Some(object) => Some(Arc::new(object)),
        None => match look(&context, &workload, label.as_deref()).await {
            Ok(object) => object,
            Err(error) => {
                tracing::debug!(%workload, "looking at its rollout: {error}");
                let mut followed = followed;
                followed.iter_mut().for_each(|followed| followed.next = Instant::now() + RETRY);
                return Turned { workload, followed, ended: None };
            }
        },
    };
    let is_over = |followed: &Followed| object.as_ref().is_some_and(|object| followed.is_over_for(object));
    let (over, followed) = match followed {
        Some(followed) if is_over(&followed) => (Some(followed), None),
        followed => (None, followed),
    };
    let begun = match (followed, &object) {
        (None, Some(object)) => begin(&context, &waiting, &workload, object).await,
        (followed, _) => Ok(followed),
    };
    let over = over.filter(|over| !over.reports.are_written());
    let mut followed = match (begun, over) {
        (Ok(Some(mut followed)), over) => {
            over.into_iter().for_each(|over| followed.reports.write_first(over.reports));
            followed
        }
        (_, Some(over)) => over,
        (Ok(None), None) => return Turned { workload, followed: None, ended: None },
        (Err(label), None) => return Turned { workload, followed: None, ended: Some(label) },
    };
    if nobody_is_notified {
        followed.notified = Notified::Done;
    }
    let goes_on = followed.turn(&context, &workload, object.as_deref()).await;
    let ended = (!goes_on).then(|| followed.label(&context.label));
    Turned { workload, followed: Some(followed), ended }
}

async fn look(
    context: &FollowingContext,
    workload: &WorkloadRef,
    label: Option<&str>,
) -> Result<Option<Arc<WorkloadObject>>, ApiError> {
    let watched = context.cluster.watched().get(workload);
    if let Some(watched) = watched.filter(|watched| label.is_some() && watched.following() == label) {
        return Ok(Some(watched));
    }
    match context.cluster.get_workload(workload).await {
        Ok(object) => Ok(Some(Arc::new(object))),
        Err(ApiError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Begins to follow the restart that a workload shows.
///
/// # Errors
/// The label belongs to no such restart. It is removed, or may not be.
async fn begin(
    context: &FollowingContext,
    waiting: &Waiting,
    workload: &WorkloadRef,
    object: &WorkloadObject,
) -> Result<Option<Followed>, String> {
    let view = waiting.view();
    let kept = view.get(workload).and_then(|of| of.kept.as_ref());
    let ours = OurRestart::of(object, kept, context.cluster.clock().now());
    let restarted_at = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
    let label = object.following();
    let is_labelled = label.is_none_or(|label| restarted_at.is_some_and(|at| context.label.value(at) == label));
    match ours {
        Some(ours) if is_labelled => return Ok(Some(Followed::new(workload, object, ours, Instant::now()))),
        // The record may be about to be kept beside the workload.
        None if is_labelled && is_recent(restarted_at, context.server_now()) => return Ok(None),
        _ => {}
    }
    let Some(label) = label.filter(|label| context.label.is_ours(label)) else { return Ok(None) };
    match context.cluster.remove_label(workload, FIELD_MANAGER, (FOLLOWING_LABEL, label)).await {
        Ok(_) => tracing::info!(
            %workload,
            "the label {FOLLOWING_LABEL} belongs to no recorded restart and was removed: the workload was restarted or \
             changed again, or its record is gone"
        ),
        Err(error @ (ApiError::Forbidden(_) | ApiError::Denied(_))) => {
            tracing::warn!(%workload, "its label {FOLLOWING_LABEL} belongs to no restart and cannot be removed: {error}");
        }
        Err(error) => {
            tracing::debug!(%workload, "the label {FOLLOWING_LABEL} was not removed: {error}");
            return Ok(None);
        }
    }
    Err(label.to_owned())
}

fn is_recent(restarted_at: Option<&String>, now: Timestamp) -> bool {
    let restarted_at = restarted_at.and_then(|text| text.parse::<Timestamp>().ok());
    restarted_at.is_some_and(|at| now.duration_since(at).abs() < RECORD_PATIENCE)
}
