//! What was decided for a workload, and why.

use serde::Serialize;

/// What was done to a workload. It follows from the [`Code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Its pods are being replaced (in a dry run: would be).
    Restarted,
    /// It will be restarted later. The push waits in a ConfigMap of pushroll's own.
    Deferred,
    /// It was restarted before, for this push or a newer one.
    Current,
    /// It should not be restarted.
    Skipped,
    /// It should be restarted, and could not be.
    Failed,
}

/// Why: the closed set for programs. [`super::WorkloadResult::reason`] is the sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Restarted: it runs the image.
    RunsImage,
    /// Restarted: a person named it.
    Named,
    /// Deferred: we have restarted it less than its `pushroll.dev/cooldown` ago.
    Cooldown,
    /// Deferred: admission refuses the restart, or the API server calls the object invalid.
    Denied,
    /// Deferred: we are not permitted to see its kind in its namespace.
    Unseen,
    /// Deferred: its pod template does not run the image any more, and the pods that do are not all replaced. An undo would
    /// keep them.
    RollingAway,
    /// Current: it was restarted for this very push before.
    AlreadyRestarted,
    /// Current: it was restarted for a newer push of the image.
    NewerPushDone,
    /// Current: all its pods run the digest of the push already.
    SameDigest,
    /// Current: all its pods were created after the push.
    Younger,
    /// Current: we have restarted it since the push, for another one.
    RestartedSince,
    /// Current: someone else has restarted it since the push.
    RestartedByOther,
    /// Skipped: it says `pushroll.dev/restart: "false"`.
    OptedOut,
    /// Skipped: it is outside `--namespaces`, `--exclude-namespaces`, `--selector` or `--opt-in`.
    OutOfScope,
    /// Skipped: it runs the image by digest, which does not move with a tag.
    PinnedByDigest,
    /// Skipped: it does not run the image any more, and neither do its pods.
    ImageChanged,
    /// Skipped: it does not exist any more, or is being deleted.
    Gone,
    /// Skipped: `OnDelete` replaces no pod.
    OnDelete,
    /// Skipped: `imagePullPolicy: Never` pulls nothing.
    NeverPulls,
    /// Failed: a person named it, and it does not exist or is being deleted.
    NotFound,
    /// Failed: a person asked for the restart, and admission refuses it, or the API server calls the object invalid.
    Refused,
    /// Failed for now: we lack a permission.
    Forbidden,
    /// Failed for now: the API server did not answer.
    Unreachable,
    /// Failed for now: the API server asks for a pause that is longer than the push can wait.
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
    /// What was done to the workload.
    pub fn action(self) -> Action {
        match self {
            Self::RunsImage | Self::Named => Action::Restarted,
            Self::Cooldown | Self::Denied | Self::Unseen | Self::RollingAway => Action::Deferred,
            Self::AlreadyRestarted
            | Self::NewerPushDone
            | Self::SameDigest
            | Self::Younger
            | Self::RestartedSince
            | Self::RestartedByOther => Action::Current,
            Self::OptedOut
            | Self::OutOfScope
            | Self::PinnedByDigest
            | Self::ImageChanged
            | Self::Gone
            | Self::OnDelete
            | Self::NeverPulls => Action::Skipped,
            Self::NotFound
            | Self::Refused
            | Self::Forbidden
            | Self::Unreachable
            | Self::TooBusy
            | Self::ApiError
            | Self::Contended
            | Self::TimedOut
            | Self::OthersFirst => Action::Failed,
        }
    }

    /// Whether our own record of the push gives this. Once it is written it stays true, however old the look is.
    pub(super) fn is_of_record(self) -> bool {
        matches!(self, Self::AlreadyRestarted | Self::NewerPushDone)
    }

    /// Whether the next delivery of the push may succeed where this one failed.
    pub fn is_transient_failure(self) -> bool {
        self.action() == Action::Failed && !matches!(self, Self::Refused | Self::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code: what was done, whether the next delivery may do what this one did not, and its name in JSON.
    #[test]
    fn each_code_has_one_action() {
        use Action::{Current, Deferred, Failed, Restarted, Skipped};
        let table = [
            (Code::RunsImage, "runs_image", Restarted, false),
            (Code::Named, "named", Restarted, false),
            (Code::Cooldown, "cooldown", Deferred, false),
            (Code::Denied, "denied", Deferred, false),
            (Code::Unseen, "unseen", Deferred, false),
            (Code::RollingAway, "rolling_away", Deferred, false),
            (Code::AlreadyRestarted, "already_restarted", Current, false),
            (Code::NewerPushDone, "newer_push_done", Current, false),
            (Code::SameDigest, "same_digest", Current, false),
            (Code::Younger, "younger", Current, false),
            (Code::RestartedSince, "restarted_since", Current, false),
            (Code::RestartedByOther, "restarted_by_other", Current, false),
            (Code::OptedOut, "opted_out", Skipped, false),
            (Code::OutOfScope, "out_of_scope", Skipped, false),
            (Code::PinnedByDigest, "pinned_by_digest", Skipped, false),
            (Code::ImageChanged, "image_changed", Skipped, false),
            (Code::Gone, "gone", Skipped, false),
            (Code::OnDelete, "on_delete", Skipped, false),
            (Code::NeverPulls, "never_pulls", Skipped, false),
            (Code::NotFound, "not_found", Failed, false),
            (Code::Refused, "refused", Failed, false),
            (Code::Forbidden, "forbidden", Failed, true),
            (Code::Unreachable, "unreachable", Failed, true),
            (Code::TooBusy, "too_busy", Failed, true),
            (Code::ApiError, "api_error", Failed, true),
            (Code::Contended, "contended", Failed, true),
            (Code::TimedOut, "timed_out", Failed, true),
            (Code::OthersFirst, "others_first", Failed, true),
        ];
        for (code, name, action, is_transient) in table {
            assert_eq!(serde_json::to_value(code).unwrap(), name);
            assert_eq!((code.action(), code.is_transient_failure()), (action, is_transient), "{name}");
        }
        // None is missing: the last of them has the number of the others.
        assert_eq!(Code::OthersFirst as usize + 1, table.len());
    }
}
