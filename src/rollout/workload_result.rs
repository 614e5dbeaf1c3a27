//! What came of one workload, as it stands in answers.

use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::code::{Action, Code};
use crate::workload::{WorkloadKind, WorkloadRef};

/// The reason of [`Code::AlreadyRestarted`].
pub(super) const ALREADY_RESTARTED: &str = "it was restarted for this push before";

/// What came of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadResult {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: Arc<str>,
    /// Why, for programs. [`Self::action`] follows from it.
    pub code: Code,
    /// Why, for people.
    pub reason: String,
    /// What else a person should know.
    pub warnings: Vec<Warning>,
    /// The template's `restartedAt` after our PATCH, by which the restart is followed. Answers do not show it.
    pub restarted_at: Option<Box<str>>,
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
    /// The controller of its owner may put its pod template back.
    Controlled,
    /// The API server did not store our record with the restart. It is kept in a ConfigMap instead.
    RecordRemoved,
    /// Its pods could not be looked at: they may have run what the push brought.
    PodsNotSeen,
    /// A person named it, though it opts out and a push would leave it.
    OptedOut,
    /// A person named it, though it is out of scope and a push would leave it.
    OutOfScope,
    /// A person named it: `OnDelete` replaces no pod.
    OnDelete,
}

/// Why a workload is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub reason: String,
}

impl WorkloadResult {
    /// A result without warnings.
    pub fn new(workload: &WorkloadRef, code: Code, reason: impl Into<String>) -> Self {
        Self {
            namespace: workload.namespace.clone(),
            kind: workload.kind,
            name: workload.name.clone(),
            code,
            reason: reason.into(),
            warnings: Vec::new(),
            restarted_at: None,
        }
    }

    /// What was done.
    pub fn action(&self) -> Action {
        self.code.action()
    }

    /// Orders results as [`WorkloadRef`] orders workloads.
    pub(super) fn order(&self) -> (&str, WorkloadKind, &str) {
        (&self.namespace, self.kind, &self.name)
    }

    /// Sorts results by workload.
    pub fn sort(results: &mut [Self]) {
        results.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    }

    /// The workload.
    pub fn workload(&self) -> WorkloadRef {
        WorkloadRef::new(self.namespace.clone(), self.kind, self.name.clone())
    }
}

impl Serialize for WorkloadResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_warnings = !self.warnings.is_empty();
        let mut fields = serializer.serialize_struct("WorkloadResult", 6 + usize::from(has_warnings))?;
        fields.serialize_field("namespace", &self.namespace)?;
        fields.serialize_field("kind", &self.kind)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("action", &self.action())?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("reason", &self.reason)?;
        if has_warnings {
            fields.serialize_field("warnings", &self.warnings)?;
        }
        fields.end()
    }
}

impl Leave {
    pub(super) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    pub(super) fn result(self, workload: &WorkloadRef) -> WorkloadResult {
        WorkloadResult::new(workload, self.code, self.reason)
    }
}
