//! The restarts for pushes that have waited: when a cooldown is over, when a refusal may be over, and when a rollout away
//! from the image is undone.
//!
//! Every replica reads the ConfigMap on a timer. The one that holds the Lease tries what is due; a replica that cannot
//! read the Lease tries as well. They need not agree: a restart has its precondition and its record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cause::Cause;
use super::code::{Action, Code};
use super::context::RestartContext;
use super::decision::{Decision, Known, Question};
use super::mode::Mode;
use super::one_restart::OneRestart;
use super::one_result::OneResult;
use super::restart::Restarter;
use super::waiting::{Changes, OfWorkload, View, WaitingPush, Why};
use crate::cluster::LeaseHolder;
use crate::configmap_store::StoreError;
use crate::workload::WorkloadRef;

/// Longest time for one workload. Its calls have time limits of their own; it may wait for many others.
const WORKLOAD_LIMIT: Duration = Duration::from_secs(60);
/// Longest pause between two tries at a refusal.
const DENIED_PAUSE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Longest time until an undo is noticed, or a cooldown that its owner has made shorter.
const COOLDOWN_PAUSE_MAX: SignedDuration = SignedDuration::from_mins(1);
/// How long a record is kept in place of the one on the pod template: a little longer than Pub/Sub keeps a message by
/// default (`messageRetentionDuration`, 7 days).
const RECORD_LIFE: SignedDuration = SignedDuration::from_hours(8 * 24);

/// Restarts workloads for pushes that have waited.
#[derive(Debug)]
pub struct DueRestarts {
    context: Arc<RestartContext>,
    interval: Duration,
    lease: Option<LeaseHolder>,
    /// When each workload was last tried, by the API server's clock.
    tried: HashMap<WorkloadRef, Timestamp>,
    last_error: Option<String>,
    lease_error: Option<String>,
    /// What the last look could not write down.
    unwritten: Changes,
}

impl DueRestarts {
    /// Looks every `interval`. With a `lease`, only while this process holds it.
    pub fn new(restarter: &Restarter, interval: Duration, lease: Option<LeaseHolder>) -> Self {
        let context = Arc::clone(&restarter.0);
        Self {
            context,
            interval,
            lease,
            tried: HashMap::new(),
            last_error: None,
            lease_error: None,
            unwritten: Changes::default(),
        }
    }

    /// Looks until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(self.interval)).await.is_some() {
            let looked = shutdown.run_until_cancelled(self.look()).await;
            let error = looked.and_then(Result::err).map(|error| error.to_string());
            if error != self.last_error {
                match &error {
                    Some(error) => tracing::warn!("what waits cannot be read: {error}"),
                    None => tracing::info!("what waits can be read again"),
                }
                self.last_error = error;
            }
        }
    }

    /// Looks once, and restarts what is due.
    ///
    /// # Errors
    /// The ConfigMap cannot be read.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        let Some(waiting) = self.context.waiting.clone() else { return Ok(()) };
        // What was done is written down before anything else is: without its note it might be done again.
        if !self.unwritten.is_empty() {
            waiting.write(&self.unwritten).await?;
            self.unwritten = Changes::default();
        }
        let view = waiting.refresh().await?;
        let now = self.context.clocks().server_now();
        self.context.metrics.set_waiting(&view, now);
        self.tried.retain(|workload, _| view.get(workload).is_some());
        let due: Vec<WorkloadRef> =
            view.iter().filter(|(workload, of)| self.is_due(workload, of, now)).map(|(w, _)| w.clone()).collect();
        let expired = expired(&view, now);
        if (due.is_empty() && expired.is_empty()) || !self.leads().await {
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        // Pushes that come meanwhile need permits, too.
        let at_once = Arc::new(Semaphore::new((self.context.concurrency / 4).max(1)));
        for workload in due {
            self.tried.insert(workload.clone(), now);
            let (context, view, at_once) = (Arc::clone(&self.context), Arc::clone(&view), Arc::clone(&at_once));
            tasks.spawn(async move {
                // It is never closed.
                let _one = at_once.acquire().await;
                context.try_again(&workload, &view).await
            });
        }
        let mut changes = Changes { done: expired, ..Changes::default() };
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(more) => changes.extend(more),
                Err(panicked) => tracing::error!("a restart ended badly: {panicked}"),
            }
        }
        if let Err((_, error)) = self.context.write_down(&changes, Instant::now() + WORKLOAD_LIMIT).await {
            tracing::warn!("what waited and is done stays in the ConfigMap {waiting}: {error}");
            self.unwritten = changes;
        }
        self.context.metrics.set_waiting(&waiting.view(), now);
        Ok(())
    }

    /// Whether this replica should do the work. Without an answer it does: two replicas do no harm.
    async fn leads(&mut self) -> bool {
        let Some(lease) = &mut self.lease else { return true };
        let (leads, error) = match lease.take(&self.context.cluster).await {
            Ok(held_by_other) => (held_by_other.is_none(), None),
            Err(error) => (true, Some(error.to_string())),
        };
        if error != self.lease_error
            && let Some(error) = &error
        {
            tracing::warn!("the Lease for what waits cannot be taken, so every replica tries it: {error}");
        }
        self.lease_error = error;
        leads
    }

    /// Whether to try now. Tries are further apart the longer the push has waited.
    fn is_due(&self, workload: &WorkloadRef, of: &OfWorkload, now: Timestamp) -> bool {
        let Some(oldest) = of.pushes.iter().map(|waits| waits.push.since).min() else { return false };
        let is_denied = of.pushes.iter().any(|push| push.why == Why::Denied);
        if !is_denied && let Some(object) = self.context.cluster.watched().get(workload) {
            // It may be outdated. It only decides whether a fresh look is worth its GET.
            let known = Known::of(&[], Some(of));
            let decides = |waits: &WaitingPush| {
                Cause::Push(Arc::new(waits.to_push())).decide(workload, &object, known, &self.context)
            };
            let mut rolls_away = false;
            for waits in &of.pushes {
                match decides(waits) {
                    Decision::Wait(_) => {}
                    Decision::Look(Question::RunsImage) => rolls_away = true,
                    _ => return true,
                }
            }
            // Its old pods may be gone though its rollout does not end.
            if !rolls_away {
                return false;
            }
        }
        let Some(tried) = self.tried.get(workload) else { return true };
        if of.pushes.iter().filter_map(|push| push.due).any(|due| due <= now && due > *tried) {
            return true;
        }
        let interval = SignedDuration::try_from(self.interval).unwrap_or(SignedDuration::MAX);
        let longest = if is_denied { DENIED_PAUSE_MAX } else { COOLDOWN_PAUSE_MAX };
        let pause = (now.duration_since(oldest) / 4).clamp(interval.min(longest), longest);
        now.duration_since(*tried) >= pause
    }
}

/// Keys of records that nothing needs any more.
fn expired(view: &View, now: Timestamp) -> Vec<String> {
    let kept = view.iter().filter_map(|(_, of)| of.kept.as_ref());
    kept.filter(|kept| now.duration_since(kept.since) > RECORD_LIFE).map(|kept| kept.key()).collect()
}

impl RestartContext {
    /// Whether Pub/Sub would not deliver the push any more.
    fn is_old(&self, waits: &WaitingPush) -> bool {
        self.clocks().server_now().duration_since(waits.push.since) > RECORD_LIFE
    }

    /// Tries each push that waits for a workload, until one of them restarts it for all of them or has to wait again.
    async fn try_again(&self, workload: &WorkloadRef, view: &View) -> Changes {
        let mut changes = Changes::default();
        for waits in view.pushes(workload) {
            let cause = Cause::Push(Arc::new(waits.to_push()));
            let restart = OneRestart { context: self, workload, cause: &cause, mode: Mode::Apply, looked_at: None };
            let tried = crate::cluster::within(Instant::now() + WORKLOAD_LIMIT, restart.run()).await;
            let Ok(OneResult { result, changes: more }) = tried else { break };
            changes.extend(more);
            let image = &waits.push.image;
            match result.action() {
                Action::Restarted => {
                    self.metrics.count_restart(workload.kind, Action::Restarted);
                    tracing::info!(%workload, %image, "restarted: {}", result.reason);
                    break;
                }
                // What is out of scope may be in the scope of a replica with other settings, for a while.
                Action::Current | Action::Skipped if result.code != Code::OutOfScope || self.is_old(waits) => {
                    tracing::info!(%workload, %image, "a push waits no longer: {}", result.reason);
                    changes.done.push(waits.key());
                }
                Action::Failed => {
                    self.metrics.count_restart(workload.kind, Action::Failed);
                    tracing::warn!(%workload, %image, "not restarted for the push that waits: {}", result.reason);
                    break;
                }
                // That is so for this image alone.
                Action::Deferred if result.code == Code::RollingAway => {}
                Action::Deferred | Action::Current | Action::Skipped => break,
            }
        }
        changes
    }
}
