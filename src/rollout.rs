//! The restart: which of the workloads that an index names are restarted for a push, and doing it exactly once.
//!
//! ```text
//! restart   GET ─► decide ─► PATCH with the resourceVersion as precondition ─► 409: look again
//!             decision   pure: the fresh object, the push (or what a person asks for), the policy, the clocks
//!             record     our note of the push on the pod template
//!             field_owners   who wrote an annotation last, by the API server's own bookkeeping
//!             policy     which workloads may be touched at all
//!             turns    several pushes of one image at once: two restarts at most
//! cooldown  when we may restart it again; deferred: what waits until then, on the workload; due: and is carried out
//! follow    GET until the rollout has ended
//! ```
//!
//! The index is a hint, the workload is the truth: every decision rests on a fresh object, or on one that a watch has
//! told of and that the PATCH's precondition proves to be fresh. It must not know where the hint came from, nor HTTP.

mod args;
mod cause;
pub mod cooldown;
pub mod decision;
pub mod deferred;
mod due;
mod events;
mod field_owners;
pub mod follow;
mod patches;
pub mod policy;
pub mod record;
pub mod restart;
pub mod selector;
mod turns;

use jiff::Timestamp;
use serde::Serialize;

use crate::image::{Digest, ImageRef};
use crate::workload::{WorkloadKind, WorkloadRef};

pub use args::{DeferredArgs, PolicyArgs};
pub use decision::by_hand::ByHand;
pub use policy::Policy;
pub use restart::Restarter;

/// What we restart for pushes as. Never a name that begins with `kubectl`: Flux strips those fields.
pub const FIELD_MANAGER: &str = "pushroll";
/// What we restart for people as.
pub const BY_HAND_FIELD_MANAGER: &str = "pushroll-cli";
/// As `kubectl rollout restart` sets it, on the pod template.
pub const RESTARTED_AT_ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";

/// A push, as far as a restart is concerned.
#[derive(Debug, Clone)]
pub struct Push {
    /// The tag that was moved.
    pub image: ImageRef,
    /// To what.
    pub digest: Option<Digest>,
    /// When, by Pub/Sub's clock. Absent where the message does not say: such a push has no place in the order of
    /// pushes, and a redelivery of it cannot be told from a new one.
    pub published: Option<Timestamp>,
    /// When we received it, by our clock.
    pub received: Timestamp,
    /// Which message.
    pub message_id: Option<String>,
}

/// What was done to a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Its pods are being replaced (in a dry run: would be).
    Restarted,
    /// To be restarted later: the push waits, on the workload itself.
    Deferred,
    /// Done already, for this push or a newer one.
    Current,
    /// Not to be restarted.
    Skipped,
    /// To be restarted, but it could not be.
    Failed,
}

/// Why: the closed set for programs. [`WorkloadResult::reason`] is the sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Restarted: it runs the image.
    RunsImage,
    /// Restarted: a person named it.
    Named,
    /// Deferred: we have restarted it less than its `pushroll.dev/cooldown` ago.
    Cooldown,
    /// Current: restarted for this very push before.
    AlreadyRestarted,
    /// Current: restarted for a newer push of the image.
    NewerPushDone,
    /// Current: the digest that it was last restarted for, and nobody touched it since.
    SameDigest,
    /// Current: someone else has restarted it since the push.
    RestartedByOther,
    /// Skipped: it says `pushroll.dev/restart: "false"`.
    OptedOut,
    /// Skipped: outside `--namespaces`, `--exclude-namespaces`, `--selector` or `--opt-in`.
    OutOfScope,
    /// Skipped: it runs the image by digest, which a tag does not move.
    PinnedByDigest,
    /// Skipped: it does not run the image any more.
    ImageChanged,
    /// Skipped (where a person named it: failed): it does not exist any more, or is being deleted.
    Gone,
    /// Skipped: `OnDelete` replaces no pod.
    OnDelete,
    /// Skipped: `imagePullPolicy: Never` pulls nothing.
    NeverPulls,
    /// Failed for good: an admission policy or the API's validation refuses the restart.
    Denied,
    /// Failed for now: we lack a permission.
    Forbidden,
    /// Failed for now: no answer of the API server.
    Unreachable,
    /// Failed for now: the API server asks to be left alone for longer than the push can wait.
    TooBusy,
    /// Failed for now: the API server answered with an error.
    ApiError,
    /// Failed for now: it changed at every attempt.
    Contended,
    /// Failed for now: no time was left.
    TimedOut,
    /// Failed for now: it is pushroll's own workload, which comes last, and others are left to the next delivery.
    OthersFirst,
}

/// What may keep a restart from bringing the new image, or from being seen at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The Deployment is paused: it rolls on resume.
    Paused,
    /// It has no pods now.
    ZeroReplicas,
    /// A StatefulSet's partition keeps the lower ordinals as they are.
    Partition,
    /// `imagePullPolicy: IfNotPresent`: a node that holds the tag does not pull it again.
    PullPolicy,
    /// The record on the workload could not be read and was written anew.
    UnreadableRecord,
    /// Its `pushroll.dev/cooldown` is no duration; it has none.
    UnreadableCooldown,
    /// Named by a person, though a push would leave it: it opts out.
    OptedOut,
    /// Named by a person, though a push would leave it: it is out of scope.
    OutOfScope,
    /// Named by a person: `OnDelete` replaces no pod.
    OnDelete,
}

/// What came of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadResult {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: Box<str>,
    /// What was done.
    pub action: Action,
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub reason: String,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

// === impl Push ===

impl Push {
    /// What orders pushes of one image: a push is newer when this is greater.
    pub(crate) fn order(&self) -> Option<record::PushOrder<'_>> {
        record::PushOrder::of(self.published, self.message_id.as_deref())
    }

    /// When it was published; the time of receipt stands in where that is not known.
    pub fn time(&self) -> Timestamp {
        self.published.unwrap_or(self.received)
    }
}

// === impl Action ===

impl Action {
    /// As in answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Deferred => "deferred",
            Self::Current => "current",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

// === impl Code ===

impl Code {
    /// Whether the next delivery of the push may succeed where this one failed.
    pub fn is_transient_failure(self) -> bool {
        use Code::{ApiError, Contended, Forbidden, OthersFirst, TimedOut, TooBusy, Unreachable};
        matches!(self, Forbidden | Unreachable | TooBusy | ApiError | Contended | TimedOut | OthersFirst)
    }
}

// === impl WorkloadResult ===

impl WorkloadResult {
    /// A result without warnings.
    pub fn new(workload: &WorkloadRef, action: Action, code: Code, reason: impl Into<String>) -> Self {
        Self {
            namespace: workload.namespace.clone(),
            kind: workload.kind,
            name: workload.name.clone(),
            action,
            code,
            reason: reason.into(),
            warnings: Vec::new(),
        }
    }

    /// Which workload.
    pub fn workload(&self) -> WorkloadRef {
        WorkloadRef::new(self.namespace.clone(), self.kind, self.name.clone())
    }
}
