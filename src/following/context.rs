//! What all followed rollouts share.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::args::{FollowingArgs, VerifyPods};
use super::events::{Report, event};
use super::look::look_at_pods;
use super::metrics::FollowingMetrics;
use super::pods::{Pushed, RestartOf, SeenImage, SeenPods};
use crate::cluster::{self, ApiError, Cluster, WorkloadObject};
use crate::index::Scope;
use crate::rollout::{FollowingLabel, Restarter};
use crate::workload::WorkloadRef;

/// The field manager of what following writes. Not that of the restarts, which decisions read.
pub const FIELD_MANAGER: &str = "pushroll-following";

/// Longest time for one look at a rollout. Its calls have time limits of their own.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(60);

/// What a follower follows, and how.
#[derive(Debug)]
pub struct FollowerConfig {
    /// What people can set.
    pub args: FollowingArgs,
    /// Which workloads are restarted.
    pub scope: Scope,
    /// Whether they are watched.
    pub is_watching: bool,
    /// How often to look for labels where they are not.
    pub idle_pause: Duration,
    /// This replica's name, for Events.
    pub instance: String,
    /// Rollouts that are worked on at once.
    pub at_once: usize,
}

#[derive(Debug)]
pub(super) struct FollowingContext {
    pub(super) cluster: Cluster,
    pub(super) restarter: Restarter,
    /// The label of the restarts that this installation follows.
    pub(super) label: FollowingLabel,
    pub(super) metrics: FollowingMetrics,
    pub(super) args: FollowingArgs,
    /// This replica's name.
    pub(super) instance: String,
    /// Rollouts that are worked on at once.
    pub(super) at_once: Semaphore,
    refused_events: Refusals,
    refused_pods: Refusals,
}

/// The last refusal in each namespace, which is logged once.
#[derive(Debug, Default)]
struct Refusals(Mutex<HashMap<Box<str>, String>>);

impl Refusals {
    /// Whether a refusal has not been logged.
    fn is_new(&self, namespace: &str, refusal: &str) -> bool {
        self.0.lock().insert(namespace.into(), refusal.to_owned()).is_none_or(|known| known != refusal)
    }
}

/// What the pods of a restart show, or why nobody looked.
pub(super) enum Pods {
    Seen(SeenPods, Vec<SeenImage>),
    NotSeen(String),
}

impl FollowingContext {
    pub(super) fn new(
        cluster: Cluster,
        restarter: Restarter,
        label: FollowingLabel,
        config: &FollowerConfig,
        metrics: FollowingMetrics,
    ) -> Self {
        Self {
            cluster,
            restarter,
            label,
            metrics,
            args: config.args.clone(),
            instance: config.instance.clone(),
            at_once: Semaphore::new(config.at_once.max(1)),
            refused_events: Refusals::default(),
            refused_pods: Refusals::default(),
        }
    }

    /// The API server's time.
    pub(super) fn server_now(&self) -> Timestamp {
        self.cluster.server_clock().at(self.cluster.clock().now())
    }

    /// Writes an Event. One that is refused is given up. The log says once what was refused.
    ///
    /// # Errors
    /// It may succeed later.
    pub(super) async fn write_event(&self, workload: &WorkloadRef, uid: &str, report: &Report) -> Result<(), ApiError> {
        let event = event(workload, uid, report, &self.instance, self.cluster.clock().now());
        let Err(error) = self.cluster.create_event(&event, FIELD_MANAGER).await else { return Ok(()) };
        // Also where the namespace is being deleted.
        let is_final = matches!(error, ApiError::Forbidden(_) | ApiError::Denied(_) | ApiError::NotFound(_));
        let is_refusal = is_final || matches!(error, ApiError::TooBusy(_));
        if is_refusal && self.refused_events.is_new(&workload.namespace, &error.to_string()) {
            tracing::warn!(%workload, "an Event was not written: {error}");
        }
        if is_final { Ok(()) } else { Err(error) }
    }

    /// Looks at the pods of a restart.
    ///
    /// # Errors
    /// It may succeed later.
    pub(super) async fn look_at_pods(
        &self,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        restarted_at: &str,
        pushed: impl IntoIterator<Item = Pushed>,
    ) -> Result<Pods, ApiError> {
        if self.args.verify_pods == VerifyPods::Off {
            return Ok(Pods::NotSeen("--verify-pods is off".to_owned()));
        }
        let restart = RestartOf { workload, uid: &object.metadata.uid, restarted_at };
        let look = look_at_pods(&self.cluster, restart, &object.spec.selector, pushed);
        // The rest of the time is for what else there is to report.
        match cluster::within_half_of_the_time(look).await.unwrap_or(Err(ApiError::TimedOut(LOOK_MAX / 2))) {
            Ok((pods, images)) => Ok(Pods::Seen(pods, images)),
            Err(error @ ApiError::Forbidden(_)) => {
                let refusal = error.to_string();
                if self.refused_pods.is_new(&workload.namespace, &refusal) {
                    match self.args.verify_pods {
                        VerifyPods::On => tracing::warn!("what the pods run is not checked: {refusal}"),
                        _ => tracing::info!("what the pods run is not checked: {refusal}"),
                    }
                }
                Ok(Pods::NotSeen(refusal))
            }
            Err(error) => Err(error),
        }
    }
}
