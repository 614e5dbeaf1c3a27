//! The restarts for pushes that have waited for the end of a cooldown.
//!
//! Every replica looks on a timer, and restarts what is due. They need not agree: the PATCH has a precondition, and the
//! second one to try finds no push that waits.
//!
//! ```text
//! run_deferred      on a timer: find the workloads on which a push waits
//! restart_due       of all of them, those that are due
//! restart_one_due   a permit, then attempts until one does not end in a conflict
//! look_and_decide   GET, decide, PATCH
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::code::Action;
use super::context::RestartContext;
use super::decision::deferred::{Due, decide_deferred};
use super::deferred::{DEFERRED, DEFERRED_FIELD_MANAGER};
use super::restart::Restarter;
use super::{FIELD_MANAGER, patches};
use crate::cluster::{ApiError, WorkloadObject, retry_on_conflict};
use crate::workload::{WorkloadKind, WorkloadRef};

impl Restarter {
    /// Looks every `interval` for pushes that wait and restarts the workloads that are due, until `shutdown`. While
    /// `watch_is_live` it looks at the watched objects, else it makes one LIST of each kind, by label.
    pub async fn run_deferred(
        &self,
        interval: Duration,
        watch_is_live: impl Fn() -> bool,
        shutdown: CancellationToken,
    ) {
        let mut last_error = None;
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let look = async {
                let waiting =
                    if watch_is_live() { Ok(self.0.watched_deferred()) } else { self.0.list_deferred().await };
                let error = match waiting {
                    Ok(waiting) => {
                        self.restart_due(waiting).await;
                        None
                    }
                    Err(error) => Some(error.to_string()),
                };
                if error != last_error {
                    match &error {
                        Some(error) => tracing::warn!("pushes that wait for a cooldown cannot be looked for: {error}"),
                        None => tracing::info!("pushes that wait for a cooldown can be looked for again"),
                    }
                    last_error = error;
                }
            };
            shutdown.run_until_cancelled(look).await;
        }
    }

    async fn restart_due(&self, waiting: Vec<(WorkloadRef, WorkloadObject)>) {
        self.0.metrics.deferred_workloads.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let mut tasks = JoinSet::new();
        for (workload, object) in waiting {
            // This object may be outdated. It only tells whether a fresh look is worth its GET.
            if !matches!(decide_deferred(&workload, &object, &self.0.policy, self.0.clocks()), Due::Nothing) {
                let context = Arc::clone(&self.0);
                tasks.spawn(async move { context.restart_one_due(&workload).await });
            }
        }
        while let Some(joined) = tasks.join_next().await {
            if let Err(panicked) = joined {
                tracing::error!("a deferred restart ended badly: {panicked}");
            }
        }
    }
}

impl RestartContext {
    fn watched_deferred(&self) -> Vec<(WorkloadRef, WorkloadObject)> {
        let labelled = self.cluster.watched().labelled(DEFERRED).into_iter();
        labelled.map(|(workload, object)| (workload, WorkloadObject::clone(&object))).collect()
    }

    async fn list_deferred(&self) -> Result<Vec<(WorkloadRef, WorkloadObject)>, ApiError> {
        let mut waiting = Vec::new();
        for namespace in self.policy.scope.namespaces() {
            for kind in WorkloadKind::ALL {
                waiting.extend(self.cluster.list_labelled(kind, namespace, DEFERRED).await?);
            }
        }
        Ok(waiting)
    }

    async fn restart_one_due(&self, workload: &WorkloadRef) {
        let _permit = self.permit().await;
        match retry_on_conflict(self.attempts(), || self.look_and_decide(workload)).await {
            Ok(()) | Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => {}
            // The push still waits on the workload, and the next look tries again.
            Err(error) => {
                self.metrics.count_restart(workload.kind, Action::Failed);
                tracing::warn!(%workload, "not restarted for the push that waits: {error}");
            }
        }
    }

    async fn look_and_decide(&self, workload: &WorkloadRef) -> Result<(), ApiError> {
        let object = self.cluster.get_workload(workload).await?;
        match decide_deferred(workload, &object, &self.policy, self.clocks()) {
            Due::Nothing => Ok(()),
            Due::End(reason) => self.end_deferral(workload, &object, &reason).await,
            Due::Restart(restart, pushes) => {
                let patch = patches::restart(&object, &restart, self.cluster.clock().now());
                match self.cluster.patch_workload(workload, FIELD_MANAGER, &patch).await {
                    Ok(()) => {
                        let images: Vec<String> = pushes.iter().map(|push| push.image.to_string()).collect();
                        self.metrics.count_restart(workload.kind, Action::Restarted);
                        tracing::info!(%workload, images = images.join(","), "restarted: {}", restart.reason);
                        Ok(())
                    }
                    // The refusal is final: another try every few seconds would change nothing.
                    Err(error @ ApiError::Denied(_)) => {
                        // First, because it may end in a conflict and a new look: the Event is written once.
                        self.end_deferral(workload, &object, &error.to_string()).await?;
                        self.metrics.count_restart(workload.kind, Action::Failed);
                        pushes.iter().for_each(|push| self.events.denied(workload, &object, push, &error));
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn end_deferral(&self, workload: &WorkloadRef, object: &WorkloadObject, why: &str) -> Result<(), ApiError> {
        let patch = patches::end_deferral(object);
        self.cluster.patch_workload(workload, DEFERRED_FIELD_MANAGER, &patch).await?;
        tracing::warn!(%workload, "a push waits no longer and is not carried out: {why}");
        Ok(())
    }
}
