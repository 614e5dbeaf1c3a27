//! The answer to a delivery: what was done and why, and the status that makes Pub/Sub ack or nack it.
//!
//! The HTTP answer, the log line and the output of the command line have this same structure.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::others::{Other, Unseen};
use crate::cache::status::FailedTier;
use crate::cache::{LoadedIndex, Tier, UnseenPart};
use crate::event::{NotForUs, NotForUsCode};
use crate::image::{Digest, ImageRef};
use crate::rollout::restart::Mode;
use crate::rollout::{Action, WorkloadResult};

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Some workloads could not be restarted, or it is not known which should be.
    Failed,
    /// One or more were restarted.
    Restarted,
    /// None was restarted, and for one or more the push waits in pushroll's own ConfigMap.
    Deferred,
    /// All restarts were done before, for this push or a newer one.
    Current,
    /// Some workloads run the image, by its tag or by a digest, and none of them is to be restarted.
    Skipped,
    /// No workload runs the image.
    NotInUse,
    /// The message is of a kind that is never acted on.
    Ignored,
    /// A dry run: the answer says what a push would have done.
    DryRun,
}

/// Why a whole delivery ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AnswerCode {
    /// The message is ignored, for this reason.
    NotForUs(NotForUsCode),
    /// There was no proof in time that no workload was missed.
    #[serde(serialize_with = "not_proven")]
    NotProven,
}

/// Whether junk is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Poison {
    /// 200: Pub/Sub drops it.
    #[default]
    Ack,
    /// 422: Pub/Sub sends it to the dead-letter topic of the subscription.
    Nack,
}

/// The index that the answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The tier that it was loaded from.
    pub tier: Tier,
    /// It lists everything that existed at this time; absent if the index does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Whether it is proven: for the push in the answer to a push, for now in a lookup.
    pub authoritative: bool,
    /// The tiers that cannot be loaded now, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_tiers: Vec<FailedTier>,
    /// The parts of the scope that it has not seen for this answer, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen_parts: Vec<UnseenPart>,
}

/// What came of a delivery.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// How the delivery ended.
    pub outcome: Outcome,
    /// The image, as the registry wrote it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_written")]
    pub image: Option<ImageRef>,
    /// The digest that the tag points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The id of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When the message was published.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "with_milliseconds")]
    pub published: Option<Timestamp>,
    /// The subscription that delivered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Delivery attempt number, if Pub/Sub reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_attempt: Option<u32>,
    /// Why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<AnswerCode>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The index that the answer rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What was done for each workload.
    pub workloads: Vec<WorkloadResult>,
    /// What else runs the image and is not restarted, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<Vec<Other>>,
    /// Where that was not looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others_unseen: Vec<Unseen>,
    /// Anything else that a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Outcome {
    /// As in answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Restarted => "restarted",
            Self::Deferred => "deferred",
            Self::Current => "current",
            Self::Skipped => "skipped",
            Self::NotInUse => "not_in_use",
            Self::Ignored => "ignored",
            Self::DryRun => "dry_run",
        }
    }

    /// The first of these that is true of the workloads.
    fn of(workloads: &[WorkloadResult]) -> Self {
        let any = |action| workloads.iter().any(|workload| workload.action() == action);
        if any(Action::Failed) {
            Self::Failed
        } else if any(Action::Restarted) {
            Self::Restarted
        } else if any(Action::Deferred) {
            Self::Deferred
        } else if any(Action::Current) {
            Self::Current
        } else if any(Action::Skipped) {
            Self::Skipped
        } else {
            Self::NotInUse
        }
    }
}

impl Answer {
    /// The answer to a message that is never acted on.
    pub fn ignored(not_for_us: NotForUs) -> Self {
        let code = Some(AnswerCode::NotForUs(not_for_us.code));
        Self { code, reason: Some(not_for_us.reason), ..Self::empty(Outcome::Ignored) }
    }

    /// The answer to a push, or to a person's request, which may name no image.
    pub fn of_workloads(image: impl Into<Option<ImageRef>>, workloads: Vec<WorkloadResult>, mode: Mode) -> Self {
        let outcome = match mode {
            Mode::DryRun => Outcome::DryRun,
            Mode::Apply => Outcome::of(&workloads),
        };
        Self { image: image.into(), workloads, ..Self::empty(outcome) }
    }

    fn empty(outcome: Outcome) -> Self {
        Self {
            outcome,
            image: None,
            digest: None,
            message_id: None,
            published: None,
            subscription: None,
            delivery_attempt: None,
            code: None,
            reason: None,
            source: None,
            workloads: Vec::new(),
            others: None,
            others_unseen: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The workloads that were restarted, or would be.
    pub fn restarted(&self) -> impl Iterator<Item = &WorkloadResult> {
        self.workloads.iter().filter(|workload| workload.action() == Action::Restarted)
    }

    /// Whether a part of the scope was not seen for it.
    pub fn is_part_unseen(&self) -> bool {
        self.source.as_ref().is_some_and(|source| !source.unseen_parts.is_empty())
    }

    /// Whether the next delivery may succeed where this one failed.
    pub(super) fn is_left_to_the_next_delivery(&self) -> bool {
        self.code == Some(AnswerCode::NotProven)
            || self.workloads.iter().any(|workload| workload.code.is_transient_failure())
    }

    /// Whether the message is junk that belongs into a dead-letter topic. What a registry sends every day does not.
    fn is_poison(&self) -> bool {
        use NotForUsCode::{
            Deleted, Empty, InvalidReference, NotARegistryEvent, NotJson, Signature, UnknownAction, Untagged,
        };
        match self.code {
            Some(AnswerCode::NotForUs(Empty | NotJson | NotARegistryEvent | UnknownAction | InvalidReference)) => true,
            Some(AnswerCode::NotForUs(Deleted | Untagged | Signature) | AnswerCode::NotProven) | None => false,
        }
    }

    /// The HTTP status. 2xx: done, written down to be done, or nothing to do. With anything else Pub/Sub delivers the
    /// message again.
    pub fn status(&self, poison: Poison) -> u16 {
        match self.outcome {
            Outcome::Failed if self.is_left_to_the_next_delivery() => 503,
            // What no delivery can mend. Only a restart by hand ends so: a push waits for the end of a refusal.
            Outcome::Failed => 200,
            Outcome::Ignored if poison == Poison::Nack && self.is_poison() => 422,
            Outcome::Restarted
            | Outcome::Deferred
            | Outcome::Current
            | Outcome::Skipped
            | Outcome::NotInUse
            | Outcome::Ignored
            | Outcome::DryRun => 200,
        }
    }
}

impl Source {
    /// Describes a loaded index, which is `proven` for the parts of the scope that it has seen.
    pub fn of(
        loaded: &LoadedIndex,
        proven: bool,
        failed_tiers: Vec<FailedTier>,
        unseen_parts: Vec<UnseenPart>,
    ) -> Self {
        let authoritative = proven && unseen_parts.is_empty();
        Self { tier: loaded.tier, as_of: loaded.as_of(), authoritative, failed_tiers, unseen_parts }
    }
}

fn not_proven<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("not_proven")
}

fn as_written<S: Serializer>(image: &Option<ImageRef>, serializer: S) -> Result<S::Ok, S::Error> {
    image.as_ref().map(ImageRef::as_written).serialize(serializer)
}

/// Pub/Sub writes three digits, so people search for three.
fn with_milliseconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.map(|time| match time.subsec_nanosecond() % 1_000_000 {
        0 => format!("{time:.3}"),
        _ => time.to_string(),
    });
    text.serialize(serializer)
}
