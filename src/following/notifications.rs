//! The notifications of each push: which are due, and when they are delivered or given up.
//!
//! The rollouts of a push are one group: one message for the first failure, one when all have ended. A workload keeps its
//! label until its group is reported, so a replica that takes over sees the whole group again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};

use super::args::FollowingArgs;
use super::followed::{Followed, Notified};
use crate::ending::ReportedPush;
use crate::notify::{FollowedRollout, Notifier, Outcome, Progress, What, chosen_sinks, push_messages};
use crate::workload::WorkloadRef;

/// A restart later than this after the publish time had to wait. It is reported with the restarts of the same minute.
const PROMPT: SignedDuration = SignedDuration::from_mins(10);

/// For so long after its summary another rollout may join a group.
const JOINED_AGAIN: Duration = Duration::from_secs(15 * 60);

/// The groups whose reports are not finished.
#[derive(Debug)]
pub(super) struct Notifications {
    notifier: Notifier,
    names: Vec<String>,
    pauses: Pauses,
    groups: HashMap<GroupKey, Group>,
    /// The groups whose summary was sent, and when. A rollout that joins the push later begins another group.
    summed_up: HashMap<GroupKey, Instant>,
    /// Messages on their way: the group of each, its id, and what became of it.
    deliveries: FuturesUnordered<BoxFuture<'static, (GroupKey, String, Outcome)>>,
}

/// How long a summary waits.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    /// After the last change of its group.
    settle: Duration,
    /// For a failed rollout to recover.
    recovery: Duration,
}

/// A push, and which of its restarts.
type GroupKey = (ReportedPush, String);

#[derive(Debug)]
struct Group {
    rollouts: BTreeMap<WorkloadRef, Member>,
    changed_at: Instant,
    sent: HashSet<String>,
    /// Messages that are neither delivered nor given up.
    open: HashSet<String>,
}

#[derive(Debug)]
struct Member {
    restarted_at: String,
    to: Vec<String>,
    progress: Progress,
    failed_at: Option<Instant>,
}

impl Notifications {
    pub(super) fn new(notifier: Notifier, args: &FollowingArgs) -> Self {
        let names = notifier.names().map(str::to_owned).collect();
        let pauses = Pauses { settle: args.settle, recovery: args.recovery };
        Self {
            notifier,
            names,
            pauses,
            groups: HashMap::new(),
            summed_up: HashMap::new(),
            deliveries: FuturesUnordered::new(),
        }
    }

    /// Whether there is nobody to notify.
    pub(super) fn is_off(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Forgets what another replica reports from now on.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        // That replica takes the names of the groups from the pushes alone.
        self.summed_up.clear();
    }

    /// Notes how far a rollout is.
    pub(super) fn note(&mut self, workload: &WorkloadRef, followed: &mut Followed, now: Instant) {
        if followed.notified == Notified::Done {
            return;
        }
        let is_new = followed.notified == Notified::NotYet;
        followed.notified = Notified::Begun;
        for (push, progress) in followed.reports.progress(followed.has_ended()) {
            let restarted_at = followed.restarted_at();
            let key = match self.group_with(&push, workload, restarted_at) {
                Some(key) => key,
                // It is reported.
                None if !is_new => continue,
                None => self.group_to_join(push, workload, restarted_at),
            };
            let group = self.groups.entry(key).or_insert_with(|| Group {
                rollouts: BTreeMap::new(),
                changed_at: now,
                sent: HashSet::new(),
                open: HashSet::new(),
            });
            let known = group.rollouts.get_mut(workload).filter(|known| known.restarted_at == restarted_at);
            let is_failing = followed.is_failing() && matches!(progress, Progress::MayRecover(_));
            let failed_at = is_failing.then(|| known.as_ref().and_then(|known| known.failed_at).unwrap_or(now));
            let known = match known {
                Some(known) if known.progress == progress => {
                    known.failed_at = failed_at;
                    continue;
                }
                known => known,
            };
            let to = known
                .map_or_else(|| chosen(workload, followed.notify.as_deref(), &self.names), |known| known.to.clone());
            let restarted_at = restarted_at.to_owned();
            group.rollouts.insert(workload.clone(), Member { restarted_at, to, progress, failed_at });
            group.changed_at = now;
        }
    }

    /// The group that a rollout of the push is in.
    fn group_with(&self, push: &ReportedPush, workload: &WorkloadRef, restarted_at: &str) -> Option<GroupKey> {
        let mut groups = self.groups.iter().filter(|((of, _), group)| of == push && group.has(workload, restarted_at));
        groups.next().map(|(key, _)| key.clone())
    }

    /// The group that a rollout of the push joins. A summary that was sent, and its id, are not about it.
    fn group_to_join(&self, push: ReportedPush, workload: &WorkloadRef, restarted_at: &str) -> GroupKey {
        let group = group_of(&push, restarted_at);
        let key = (push, group);
        if self.summed_up.contains_key(&key) { (key.0, format!("{restarted_at} {workload}")) } else { key }
    }

    /// Sends the messages that are due, and forgets the groups that are reported. A group with a workload that is
    /// `at_work` stays: what that turn finds would begin the group anew.
    pub(super) fn send(&mut self, now: Instant, at_work: &HashSet<WorkloadRef>) {
        let pauses = self.pauses;
        for (key, group) in &mut self.groups {
            let is_settled = now.duration_since(group.changed_at) >= pauses.settle;
            let rollouts =
                group.rollouts.values().map(|member| member.rollout(is_settled, now, pauses)).collect::<Vec<_>>();
            let (push, name) = key;
            for message in push_messages(push, name, &rollouts, |id| group.sent.contains(id)) {
                let (key, id) = (key.clone(), message.id.clone());
                if message.what == What::Ended {
                    self.summed_up.insert(key.clone(), now);
                }
                group.sent.insert(id.clone());
                group.open.insert(id.clone());
                let delivery = self.notifier.send(&message);
                self.deliveries.push(Box::pin(async move { (key, id, delivery.outcome().await) }));
            }
        }
        let is_at_work = |group: &Group| group.rollouts.keys().any(|workload| at_work.contains(workload));
        self.summed_up.retain(|key, at| self.groups.contains_key(key) || now.duration_since(*at) < JOINED_AGAIN);
        self.groups.retain(|_, group| !group.is_reported(now, pauses) || is_at_work(group));
    }

    /// Waits for the next message that is delivered or given up; for ever while there is none.
    pub(super) async fn delivered(&mut self) {
        match self.deliveries.next().await {
            Some((key, id, outcome)) => {
                if outcome != Outcome::Unfinished
                    && let Some(group) = self.groups.get_mut(&key)
                {
                    group.open.remove(&id);
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Whether nothing of this restart is still to be reported.
    pub(super) fn has_reported(&self, workload: &WorkloadRef, restarted_at: &str) -> bool {
        !self.groups.values().any(|group| group.has(workload, restarted_at))
    }

    /// When something is due by itself, after `now`.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let due = self.groups.values().flat_map(|group| group.due(self.pauses));
        due.filter(|due| *due > now).min()
    }
}

impl Group {
    /// Whether this restart of the workload is in it.
    fn has(&self, workload: &WorkloadRef, restarted_at: &str) -> bool {
        self.rollouts.get(workload).is_some_and(|one| one.restarted_at == restarted_at)
    }

    fn is_reported(&self, now: Instant, pauses: Pauses) -> bool {
        let is_over = self.rollouts.values().all(|member| member.is_over(now, pauses));
        self.open.is_empty() && is_over && now.duration_since(self.changed_at) >= pauses.settle
    }

    /// When it is settled, and when a failed rollout does not recover any more.
    fn due(&self, pauses: Pauses) -> impl Iterator<Item = Instant> {
        let recovery = self.rollouts.values().filter_map(move |member| Some(member.failed_at? + pauses.recovery));
        recovery.chain([self.changed_at + pauses.settle])
    }
}

impl Member {
    fn is_over(&self, now: Instant, pauses: Pauses) -> bool {
        match &self.progress {
            Progress::UnderWay => false,
            Progress::Over(_) => true,
            Progress::MayRecover(_) => self.failed_at.is_some_and(|at| now.duration_since(at) >= pauses.recovery),
        }
    }

    /// As messages see it. Nothing is over for them before the group has settled.
    fn rollout(&self, is_settled: bool, now: Instant, pauses: Pauses) -> FollowedRollout {
        let progress = match &self.progress {
            Progress::MayRecover(ending) if is_settled && self.is_over(now, pauses) => Progress::Over(ending.clone()),
            Progress::Over(ending) if !is_settled => Progress::MayRecover(ending.clone()),
            progress => progress.clone(),
        };
        FollowedRollout { progress, to: self.to.clone() }
    }
}

/// The sinks of a workload. The log names unknown ones.
fn chosen(workload: &WorkloadRef, annotation: Option<&str>, names: &[String]) -> Vec<String> {
    let chosen = chosen_sinks(annotation, names.iter().map(String::as_str));
    if !chosen.unknown.is_empty() {
        let (unknown, sinks) = (chosen.unknown.join(", "), chosen.sinks.join(", "));
        tracing::warn!(%workload, "its annotation pushroll.dev/notify names sinks that --notify does not have: {unknown}; notified: {sinks}");
    }
    chosen.sinks
}

/// The same for the workloads that a push restarts together, at every replica.
fn group_of(push: &ReportedPush, restarted_at: &str) -> String {
    let at = restarted_at.parse::<Timestamp>().ok();
    let is_prompt = at.zip(push.published).is_some_and(|(at, published)| at.duration_since(published) < PROMPT);
    if is_prompt { String::new() } else { restarted_at.chars().take("2026-11-27T20:10".len()).collect() }
}

#[cfg(test)]
mod tests;
