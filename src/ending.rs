//! How a rollout has ended, and what its pods run. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::workload::WorkloadRef;

/// How a rollout has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every pod is new and available.
    Complete,
    /// Its progress deadline is over, or a new pod cannot pull, cannot start, or crashes again and again. It may still
    /// recover.
    Failed,
    /// The workload was restarted again, its pod template was put back, or it names another image now.
    Superseded,
    /// The workload was deleted.
    Gone,
    /// It made no progress for too long, or it does not end by itself.
    Unknown,
}

/// What the new pods of a rollout run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// Each of them runs the pushed digest.
    PushedImage,
    /// The image that one of them names is another.
    OtherImage,
    /// Their `imageID` differs from the pushed digest. That proves nothing: a node may know one image under several
    /// digests.
    CannotTell,
    /// There are no pods, or we may not list them.
    NotChecked,
}

impl Ending {
    /// As in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}

impl Runs {
    /// As in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PushedImage => "pushed_image",
            Self::OtherImage => "other_image",
            Self::CannotTell => "cannot_tell",
            Self::NotChecked => "not_checked",
        }
    }
}

/// What came of a push for one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadEnding {
    /// The workload.
    #[serde(flatten)]
    pub workload: WorkloadRef,
    /// How its rollout has ended.
    pub ending: Ending,
    /// What its new pods run.
    pub runs: Runs,
    /// The sentence for people, such as `3 of 3 pods run sha256:ab...`.
    pub reason: String,
    /// When it was restarted: the template's `restartedAt`.
    pub restarted_at: Timestamp,
    /// When we saw the ending, by the API server's clock.
    pub ended_at: Timestamp,
}

/// A push, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReportedPush {
    /// The image, with the tag that was moved.
    pub image: String,
    /// What the tag pointed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When it was published, by Pub/Sub's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// The id of its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}
