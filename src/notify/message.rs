//! One message to one sink.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use crate::ending::{Ending, ReportedPush, Runs, WorkloadEnding};

/// What a message reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// The first rollouts of the push have failed; others may be under way.
    Failed,
    /// All rollouts of the push have ended.
    Ended,
    /// That messages arrive.
    Test,
}

/// A message to a sink. It is sent at least once; the same message has the same id, whichever replica sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same for every copy of the message.
    pub id: String,
    /// What it reports.
    pub what: What,
    /// The sink, by its name.
    pub to: String,
    /// The push.
    pub push: ReportedPush,
    /// The rollouts that have ended, first the ones that somebody should look at.
    pub workloads: Vec<WorkloadEnding>,
    /// Rollouts that have not ended.
    pub under_way: usize,
    /// When what it reports has happened.
    pub time: Timestamp,
}

impl What {
    /// As ids and the log name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Ended => "ended",
            Self::Test => "test",
        }
    }
}

impl Message {
    /// The message of these rollouts.
    pub(super) fn new(
        id: String,
        what: What,
        to: &str,
        push: &ReportedPush,
        mut workloads: Vec<WorkloadEnding>,
        under_way: usize,
    ) -> Self {
        workloads.sort_by(|a, b| (concern(a), &a.workload).cmp(&(concern(b), &b.workload)));
        let failed_at =
            || workloads.iter().filter(|ended| ended.ending == Ending::Failed).map(|ended| ended.ended_at).min();
        let ended_at = || workloads.iter().map(|ended| ended.ended_at).max();
        let time = match what {
            What::Failed => failed_at(),
            What::Ended | What::Test => ended_at(),
        };
        let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
        Self { id, what, to: to.to_owned(), push: push.clone(), workloads, under_way, time }
    }

    /// A message that says nothing but that messages arrive.
    pub fn test(to: &str, now: Timestamp) -> Self {
        let image = "registry.example.com/pushroll/test:1".to_owned();
        let push = ReportedPush { image, digest: None, published: None, message_id: None };
        let id = hash(format!("{to} {}", now.as_nanosecond()).as_bytes());
        Self { id, what: What::Test, to: to.to_owned(), push, workloads: Vec::new(), under_way: 0, time: now }
    }
}

/// The id of a message. `restarted_at` is when the push restarted something first: it counts if the push has neither a
/// message id nor a time, for then two pushes of a digest look the same.
pub(super) fn id(what: What, to: &str, push: &ReportedPush, group: &str, restarted_at: Option<Timestamp>) -> String {
    // Member by member: a new one must not change the ids of messages that an earlier version has sent.
    let ReportedPush { image, digest, published, message_id } = push;
    let restarted_at = restarted_at.filter(|_| message_id.is_none() && published.is_none());
    let of = (image, digest, published, message_id, group, restarted_at, what.as_str(), to);
    hash(&serde_json::to_vec(&of).unwrap_or_default())
}

fn hash(text: &[u8]) -> String {
    digest(&SHA256, text).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What somebody should look at first.
fn concern(ended: &WorkloadEnding) -> u8 {
    match (ended.ending, ended.runs) {
        (Ending::Failed, _) => 0,
        (Ending::Unknown, _) => 1,
        (_, Runs::OtherImage) => 2,
        (Ending::Gone, _) => 3,
        (Ending::Superseded, _) => 4,
        (Ending::Complete, _) => 5,
    }
}
