//! Which messages a push makes of the endings that are known so far. Pure.
//!
//! For each sink there are two at most: the first failure at once, and a summary when all have ended. A rollout that has
//! failed may recover, so the summary waits until it is clear that it does not.

use std::collections::BTreeSet;

use super::message::{Message, What, id};
use crate::ending::{Ending, ReportedPush, WorkloadEnding};

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is to be reported yet.
    UnderWay,
    /// It has failed, and is followed on, because it may recover.
    MayRecover(WorkloadEnding),
    /// It has ended, and is not followed any more.
    Over(WorkloadEnding),
}

/// A rollout of the push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedRollout {
    /// How far it is.
    pub progress: Progress,
    /// The sinks that are notified of its workload.
    pub to: Vec<String>,
}

impl Progress {
    /// Its ending so far.
    fn ending(&self) -> Option<&WorkloadEnding> {
        match self {
            Self::UnderWay => None,
            Self::MayRecover(ending) | Self::Over(ending) => Some(ending),
        }
    }
}

/// The messages that are due, at most one for each sink, without the ones whose id `is_sent` knows. To be called whenever one
/// of the rollouts has changed.
///
/// `rollouts` are all of the push that began together, and `group` is the same for them at every replica and another for
/// the ones that began later, after a wait: each group has a summary of its own, with an id of its own.
pub fn push_messages(
    push: &ReportedPush,
    group: &str,
    rollouts: &[FollowedRollout],
    is_sent: impl Fn(&str) -> bool,
) -> Vec<Message> {
    let sinks: BTreeSet<&String> = rollouts.iter().flat_map(|rollout| &rollout.to).collect();
    let message_to = |sink: &String| {
        let of_sink = || rollouts.iter().filter(|rollout| rollout.to.contains(sink)).map(|rollout| &rollout.progress);
        let endings = || of_sink().filter_map(Progress::ending);
        let what = if of_sink().all(|progress| matches!(progress, Progress::Over(_))) {
            What::Ended
        } else if endings().any(|ended| ended.ending == Ending::Failed) {
            What::Failed
        } else {
            return None;
        };
        let id = id(what, sink, push, group, endings().map(|ended| ended.restarted_at).min());
        if is_sent(&id) {
            return None;
        }
        let under_way = of_sink().filter(|progress| progress.ending().is_none()).count();
        Some(Message::new(id, what, sink, push, endings().cloned().collect(), under_way))
    };
    sinks.into_iter().filter_map(message_to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::Runs;
    use crate::workload::{WorkloadKind, WorkloadRef};
    use jiff::Timestamp;

    fn push(id: &str) -> ReportedPush {
        ReportedPush {
            image: "a.example/web:1".to_owned(),
            digest: None,
            published: None,
            message_id: Some(id.to_owned()),
        }
    }

    fn ending(number: i64, ending: Ending) -> WorkloadEnding {
        WorkloadEnding {
            workload: WorkloadRef {
                namespace: "shop".into(),
                kind: WorkloadKind::Deployment,
                name: format!("web-{number:02}").into(),
            },
            ending,
            runs: Runs::NotChecked,
            reason: "because".to_owned(),
            restarted_at: Timestamp::from_second(1_700_000_000).unwrap(),
            ended_at: Timestamp::from_second(1_700_000_100 + number).unwrap(),
        }
    }

    fn rollout(progress: Progress, to: &[&str]) -> FollowedRollout {
        FollowedRollout { progress, to: to.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn forty_workloads_are_two_messages_whatever_happens_in_between() {
        let mut rollouts: Vec<FollowedRollout> = (0..40).map(|_| rollout(Progress::UnderWay, &["chat"])).collect();
        let mut sent: Vec<Message> = Vec::new();
        let mut step = |rollouts: &[FollowedRollout]| {
            let due = push_messages(&push("1"), "", rollouts, |id| sent.iter().any(|before| before.id == id));
            sent.extend(due);
            sent.len()
        };
        assert_eq!(step(&rollouts), 0);
        for number in 0..38_u8 {
            let failed = number % 5 == 3;
            let known = ending(number.into(), if failed { Ending::Failed } else { Ending::Complete });
            rollouts[usize::from(number)].progress =
                if failed { Progress::MayRecover(known) } else { Progress::Over(known) };
            assert_eq!(step(&rollouts), usize::from(number >= 3));
        }
        // One that had failed recovers, the others do not.
        for number in 0..40_u8 {
            let recovers = number == 3 || number >= 38;
            if !matches!(rollouts[usize::from(number)].progress, Progress::Over(_)) {
                let known = ending(number.into(), if recovers { Ending::Complete } else { Ending::Failed });
                rollouts[usize::from(number)].progress = Progress::Over(known);
            }
            step(&rollouts);
        }
        assert_eq!(step(&rollouts), 2);
        let [failed, ended] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((failed.what, failed.workloads.len(), failed.under_way), (What::Failed, 4, 36));
        assert_eq!(failed.workloads[0].workload.name.as_ref(), "web-03");
        assert_eq!((ended.what, ended.workloads.len(), ended.under_way), (What::Ended, 40, 0));
        let failures = ended.workloads.iter().filter(|ended| ended.ending == Ending::Failed).count();
        assert_eq!(failures, 6);
        assert!(ended.workloads[..failures].iter().all(|ended| ended.ending == Ending::Failed));
        assert_eq!(ended.time, ending(39, Ending::Complete).ended_at);
        assert_eq!(failed.time, ending(3, Ending::Failed).ended_at);
    }

    #[test]
    fn each_sink_is_notified_of_its_workloads_alone() {
        let rollouts = [
            rollout(Progress::Over(ending(1, Ending::Failed)), &["a", "all"]),
            rollout(Progress::UnderWay, &["b", "all"]),
            rollout(Progress::Over(ending(3, Ending::Complete)), &["c", "all"]),
        ];
        let messages = push_messages(&push("1"), "", &rollouts, |_| false);
        let of: Vec<_> = messages.iter().map(|m| (m.to.as_str(), m.what, m.workloads.len(), m.under_way)).collect();
        assert_eq!(of, [("a", What::Ended, 1, 0), ("all", What::Failed, 2, 1), ("c", What::Ended, 1, 0)]);
        assert!(push_messages(&push("1"), "", &[], |_| false).is_empty());
    }

    #[test]
    fn ids_are_of_the_push_the_kind_and_the_sink() {
        let id = |push: &ReportedPush, progress: Progress, sink| {
            push_messages(push, "", &[rollout(progress, &[sink]), rollout(Progress::UnderWay, &[])], |_| false)[0]
                .id
                .clone()
        };
        let failed = |number| Progress::MayRecover(ending(number, Ending::Failed));
        let over = |number| Progress::Over(ending(number, Ending::Failed));
        let one = push("1");
        assert_eq!(id(&one, failed(1), "a"), id(&one, failed(2), "a"), "of whatever workload");
        assert_ne!(id(&one, failed(1), "a"), id(&one, over(1), "a"));
        assert_ne!(id(&one, over(1), "a"), id(&one, over(1), "b"));
        assert_ne!(id(&one, over(1), "a"), id(&push("2"), over(1), "a"));
        let later = push_messages(&one, "later", &[rollout(over(1), &["a"])], |_| false).remove(0);
        assert_ne!(id(&one, over(1), "a"), later.id, "rollouts that had to wait have a summary of their own");
        // What an earlier version sent is the same message.
        assert_eq!(id(&one, over(1), "a"), "1bb5c3a38bae6e16ea895d8def3f0ded");
        let by_hand = ReportedPush { message_id: None, ..one.clone() };
        let mut later = ending(1, Ending::Failed);
        later.restarted_at = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(id(&by_hand, over(1), "a"), id(&by_hand, over(2), "a"));
        assert_ne!(id(&by_hand, over(1), "a"), id(&by_hand, Progress::Over(later), "a"));
    }
}
