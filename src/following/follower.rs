//! The task that follows the rollouts of restarts for pushes.
//!
//! A restart sets the label `pushroll.dev/following` in the same PATCH. The replica that holds the Lease follows each
//! workload that has the label, whichever replica has restarted it. So a replica that takes over knows what to follow. A
//! watch shows the labels and every change; without one they are listed at intervals.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use super::context::{FollowerConfig, FollowingContext};
use super::followed::{Followed, Notified};
use super::notifications::Notifications;
use super::turn::{Seen, Turned, turn};
use crate::cluster::{LeaseHolder, WatchedObject};
use crate::index::{Part, Scope};
use crate::rollout::waiting::Waiting;
use crate::workload::WorkloadRef;

/// Changes within this time are looked at together.
const GATHER: Duration = Duration::from_millis(50);
/// Between two renewals of the Lease, while something is followed; a third of its duration.
const LEASE_RENEWAL: Duration = Duration::from_secs(5);
/// For so long after its end a rollout may be shown again.
const SHOWN_AGAIN: Duration = Duration::from_secs(60);
/// The shortest and the longest pause between two LISTs while rollouts are under way.
const POLL_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Follows rollouts.
#[derive(Debug)]
pub struct Follower {
    context: Arc<FollowingContext>,
    scope: Scope,
    waiting: Arc<Waiting>,
    lease: LeaseHolder,
    /// Until when this replica need not ask for the Lease again, and whether it holds it.
    leads: (Instant, bool),
    is_watching: bool,
    /// Between two LISTs while nothing is followed.
    idle_pause: Duration,
    next_poll: Instant,
    poll_pause: Duration,
    /// Workloads that this process has restarted, and the label of each.
    restarted: mpsc::Receiver<(WorkloadRef, String)>,
    new: HashMap<WorkloadRef, String>,
    followed: HashMap<WorkloadRef, Followed>,
    turns: JoinSet<Turned>,
    at_work: HashMap<task::Id, WorkloadRef>,
    /// The labels of rollouts that have ended, and when: a watch, or what this process has restarted, may show them again.
    ended: HashMap<WorkloadRef, (String, Instant)>,
    /// Whether the last look has found something to follow.
    has_work: bool,
    logged_error: Option<String>,
    notifications: Notifications,
}

impl Follower {
    pub(super) fn new(
        context: FollowingContext,
        config: FollowerConfig,
        waiting: Arc<Waiting>,
        lease: LeaseHolder,
        restarted: mpsc::Receiver<(WorkloadRef, String)>,
        notifications: Notifications,
    ) -> Self {
        let FollowerConfig { scope, is_watching, idle_pause, .. } = config;
        let now = Instant::now();
        Self {
            context: Arc::new(context),
            scope,
            waiting,
            lease,
            leads: (now, false),
            is_watching,
            idle_pause,
            next_poll: now + idle_pause,
            poll_pause: POLL_PAUSE.0,
            restarted,
            new: HashMap::new(),
            followed: HashMap::new(),
            turns: JoinSet::new(),
            at_work: HashMap::new(),
            ended: HashMap::new(),
            has_work: false,
            logged_error: None,
            notifications,
        }
    }

    /// Follows until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let watched = self.context.cluster.watched();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = watched.followed_changed(), if self.is_watching => tokio::time::sleep(GATHER).await,
                Some(restarted) = self.restarted.recv() => {
                    self.new.extend([restarted]);
                    while let Ok(restarted) = self.restarted.try_recv() {
                        self.new.extend([restarted]);
                    }
                    // Restarts that never cease must not put it off.
                    self.next_poll = self.next_poll.min(Instant::now() + POLL_PAUSE.0);
                }
                Some(ended) = self.turns.join_next_with_id(), if !self.turns.is_empty() => {
                    self.turn_ended(ended);
                    while let Some(ended) = self.turns.try_join_next_with_id() {
                        self.turn_ended(ended);
                    }
                }
                () = self.notifications.delivered() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            if shutdown.run_until_cancelled(self.look()).await.is_none() {
                return;
            }
            let followed = self.followed.len() + self.at_work.len();
            self.context.metrics.followed.set(i64::try_from(followed).unwrap_or(i64::MAX));
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let poll = if self.is_watching { now + self.idle_pause } else { self.next_poll };
        let looks = self.followed.values().map(|followed| followed.next);
        let lease = self.has_work.then_some(self.leads.0);
        // A moment later: what is due at the same time is done together.
        looks.chain(lease).chain(self.notifications.next(now)).fold(poll, Instant::min).max(now + GATHER)
    }

    fn turn_ended(&mut self, turned: Result<(task::Id, Turned), task::JoinError>) {
        match turned {
            Ok((id, Turned { workload, mut followed, ended })) => {
                self.at_work.remove(&id);
                let now = Instant::now();
                followed.iter_mut().for_each(|followed| self.notifications.note(&workload, followed, now));
                if let Some(label) = ended {
                    self.ended.insert(workload, (label, now));
                } else if let Some(followed) = followed {
                    self.followed.insert(workload, followed);
                }
            }
            Err(error) => {
                let workload = self.at_work.remove(&error.id());
                tracing::error!("following the rollout of {workload:?} ended badly: {error}");
            }
        }
    }

    /// Looks for what is to be followed, and begins a turn at each rollout that has changed or is due.
    async fn look(&mut self) {
        let labelled = self.labelled().await;
        let is_listed = labelled.is_some();
        let mut labelled = labelled.unwrap_or_default();
        let has_rollouts = !(labelled.is_empty() && self.followed.is_empty() && self.new.is_empty());
        self.has_work = has_rollouts || !self.notifications.is_empty();
        if !self.has_work {
            return;
        }
        if !self.is_leading().await {
            self.followed.clear();
            self.notifications.clear();
            self.new.clear();
            // What they find would be taken for notified of, if this replica leads again before they end.
            self.turns = JoinSet::new();
            self.at_work.clear();
            return;
        }
        let has_ended =
            |workload: &WorkloadRef, label: &str| self.ended.get(workload).is_some_and(|(ended, _)| ended == label);
        labelled.retain(|(workload, object)| {
            object.followed().is_none_or(|followed| !has_ended(workload, &followed.label))
        });
        self.new.retain(|workload, label| !has_ended(workload, label));
        let (now, at_work) = (Instant::now(), self.at_work.values().cloned().collect::<HashSet<_>>());
        let mut seen: HashMap<WorkloadRef, Seen> =
            labelled.into_iter().map(|(workload, object)| (workload, Seen::Object(object))).collect();
        // Between two LISTs it is not known whether they have the label, and a LIST is cheaper than a GET of each.
        if is_listed {
            for (workload, label) in self.new.drain() {
                seen.entry(workload).or_insert(Seen::Label(label));
            }
        }
        self.notifications.send(now, &at_work);
        for (workload, followed) in &mut self.followed {
            let is_open = followed.notified == Notified::Begun;
            if is_open && self.notifications.has_reported(workload, followed.restarted_at()) {
                followed.notified = Notified::Done;
                if followed.has_ended() {
                    // Nothing but its label is left.
                    followed.next = now;
                }
            }
            if followed.next <= now {
                let label = followed.label(&self.context.label);
                seen.entry(workload.clone()).or_insert(Seen::Label(label));
            }
        }
        seen.retain(|workload, _| !at_work.contains(workload));
        for (workload, seen) in seen {
            let followed = self.followed.get(&workload);
            if let (Some(followed), Seen::Object(object)) = (followed, &seen)
                && followed.next > now
                && object.followed().is_some_and(|object| object.resource_version == followed.version)
            {
                continue;
            }
            let followed = self.followed.remove(&workload);
            let turn = turn(
                Arc::clone(&self.context),
                Arc::clone(&self.waiting),
                workload.clone(),
                followed,
                seen,
                self.notifications.is_off(),
            );
            let id = self.turns.spawn(turn).id();
            self.at_work.insert(id, workload);
        }
    }

    /// `unlisted` are parts whose labels are not known.
    fn forget_ended(&mut self, labelled: &[(WorkloadRef, WatchedObject)], unlisted: &[Part]) {
        let labelled: HashSet<&WorkloadRef> = labelled.iter().map(|(workload, _)| workload).collect();
        let is_unlisted = |workload: &WorkloadRef| unlisted.iter().any(|part| part.has(workload));
        self.ended.retain(|workload, (_, at)| {
            labelled.contains(workload) || is_unlisted(workload) || at.elapsed() < SHOWN_AGAIN
        });
    }

    /// Whether the label of a workload is of this installation.
    fn is_ours(&self, object: &WatchedObject) -> bool {
        object.followed().is_some_and(|followed| self.context.label.is_ours(&followed.label))
    }

    /// The workloads that have the label of this installation; `None` between two LISTs.
    async fn labelled(&mut self) -> Option<Vec<(WorkloadRef, WatchedObject)>> {
        let (cluster, now) = (self.context.cluster.clone(), Instant::now());
        if self.is_watching {
            let mut followed = cluster.watched().followed();
            followed.retain(|(_, object)| self.is_ours(object));
            self.forget_ended(&followed, &[]);
            return Some(followed);
        }
        if let (until, false) = self.leads
            && now < until
        {
            self.next_poll = self.next_poll.max(until);
        }
        if now < self.next_poll {
            return None;
        }
        let (mut labelled, mut unlisted) = (Vec::new(), Vec::new());
        let mut error = None;
        for part in self.scope.parts() {
            match cluster.list_followed(part.kind, part.namespace.as_deref()).await {
                Ok(listed) => {
                    labelled.extend(listed.into_iter().filter(|(_, object)| self.is_ours(object)));
                }
                Err(failed) => {
                    error = Some(failed.to_string());
                    unlisted.push(part);
                }
            }
        }
        if let Some(error) = &error
            && self.logged_error.as_ref() != Some(error)
        {
            tracing::warn!("the workloads whose rollouts are to be followed cannot all be listed: {error}");
        }
        self.forget_ended(&labelled, &unlisted);
        self.logged_error = error;
        let has_moved = labelled.iter().any(|(workload, object)| {
            let Some(now) = object.followed() else { return false };
            let has_ended = self.ended.get(workload).is_some_and(|(label, _)| *label == now.label);
            let is_known = self.followed.get(workload).is_some_and(|known| known.version == now.resource_version);
            !has_ended && !is_known
        });
        self.poll_pause =
            if has_moved { POLL_PAUSE.0 } else { (self.poll_pause * 3 / 2).min(POLL_PAUSE.1.min(self.idle_pause)) };
        self.next_poll = now + if labelled.is_empty() { self.idle_pause } else { self.poll_pause };
        Some(labelled)
    }

    /// Whether this replica follows. Without an answer it does: each Event has one name, and two replicas do no harm.
    async fn is_leading(&mut self) -> bool {
        let (until, leads) = self.leads;
        let now = Instant::now();
        if now < until {
            return leads;
        }
        self.leads = match self.lease.take(&self.context.cluster).await {
            Ok(None) => (now + LEASE_RENEWAL, true),
            Ok(Some(left)) => (now + left.min(LEASE_RENEWAL), false),
            Err(error) => {
                tracing::debug!("the Lease for following rollouts cannot be taken: {error}");
                (now + LEASE_RENEWAL, true)
            }
        };
        self.leads.1
    }
}
