//! What a message says to people, before it is in any format.

use crate::ending::{Ending, Runs, WorkloadEnding};
use crate::notify::message::{Message, What};

/// Workloads that are named.
pub(super) const NAMED: usize = 10;

/// How many rollouts ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Counts {
    pub(super) complete: usize,
    pub(super) failed: usize,
    pub(super) superseded: usize,
    pub(super) gone: usize,
    pub(super) unknown: usize,
    pub(super) under_way: usize,
}

impl Counts {
    pub(super) fn of(message: &Message) -> Self {
        let mut counts = Self { under_way: message.under_way, ..Self::default() };
        for ended in &message.workloads {
            *match ended.ending {
                Ending::Complete => &mut counts.complete,
                Ending::Failed => &mut counts.failed,
                Ending::Superseded => &mut counts.superseded,
                Ending::Gone => &mut counts.gone,
                Ending::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }

    /// `40 rollouts: 2 failed, 38 complete`
    fn sentence(self) -> String {
        let named = [
            (self.failed, "failed"),
            (self.unknown, "unknown"),
            (self.gone, "gone"),
            (self.superseded, "superseded"),
            (self.complete, "complete"),
            (self.under_way, "under way"),
        ];
        let all: usize = named.iter().map(|(count, _)| count).sum();
        let parts: Vec<String> =
            named.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        format!("{all} {}: {}", if all == 1 { "rollout" } else { "rollouts" }, parts.join(", "))
    }
}

/// What it is about, without the image.
pub(super) fn title(message: &Message) -> &'static str {
    let counts = Counts::of(message);
    match message.what {
        What::Test => "Test of pushroll's notifications",
        What::Failed => "Rollout failed",
        What::Ended if counts.failed > 0 => "Push ended with failures",
        What::Ended if counts.unknown > 0 => "Push ended, some rollouts unknown",
        What::Ended if message.workloads.iter().any(|ended| ended.runs == Runs::OtherImage) => {
            "Push ended, another image runs"
        }
        What::Ended if counts.complete == 0 => "Push ended: superseded or gone",
        What::Ended => "Push rolled out",
    }
}

/// Whether somebody should look at it.
pub(super) fn is_alarming(message: &Message) -> bool {
    let is_alarming = |ended: &WorkloadEnding| {
        matches!(ended.ending, Ending::Failed | Ending::Unknown) || ended.runs == Runs::OtherImage
    };
    message.workloads.iter().any(is_alarming)
}

/// One sentence with the numbers.
pub(super) fn summary(message: &Message) -> String {
    match message.what {
        What::Test => "It works: messages about the rollouts of pushes arrive here.".to_owned(),
        What::Failed | What::Ended => Counts::of(message).sentence(),
    }
}

/// How a rollout ended, in a word or two.
pub(super) fn ending(ended: &WorkloadEnding) -> &'static str {
    match (ended.ending, ended.runs) {
        (Ending::Complete, Runs::OtherImage) => "complete, runs another image",
        (Ending::Complete, _) => "complete",
        (Ending::Failed, _) => "failed",
        (Ending::Superseded, _) => "superseded",
        (Ending::Gone, _) => "gone",
        (Ending::Unknown, _) => "end unknown",
    }
}

/// `and 30 more`; none where all are named.
pub(super) fn more(message: &Message) -> Option<String> {
    let more = message.workloads.len().saturating_sub(NAMED);
    (more > 0).then(|| format!("and {more} more"))
}

/// What the push was, and by what the message is known again.
pub(super) fn details(message: &Message, source: &str) -> String {
    let push = &message.push;
    let mut parts = Vec::new();
    parts.extend(push.digest.as_ref().map(ToString::to_string));
    parts.extend(push.published.map(|published| format!("pushed {published:.0}")));
    parts.extend(push.message_id.as_ref().map(|id| format!("message {id}")));
    parts.push(format!("notification {}", message.id));
    parts.push(format!("from {source}"));
    parts.join(" · ")
}
