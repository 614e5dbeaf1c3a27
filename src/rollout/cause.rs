//! Who wants a restart, and what they are told of it.

use std::sync::Arc;

use super::decision::Restart;
use super::decision::by_hand::ByHand;
use super::{Action, BY_HAND_FIELD_MANAGER, Code, FIELD_MANAGER, Push, WorkloadResult};
use crate::workload::WorkloadRef;

/// Who wants a restart.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// A push: exactly once, with a record of it.
    Push(Arc<Push>),
    /// A person: now.
    ByHand(Arc<ByHand>),
}

/// Whom one turn at a workload is for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// A newer push than one's own, which waits; asked first.
    pub(super) newer: Option<Cause>,
    /// One's own: it may want a restart where the newer does not (that brings the digest back that runs).
    pub(super) own: Cause,
}

impl Cause {
    pub(super) fn names_the_workload(&self) -> bool {
        matches!(self, Self::ByHand(asked) if **asked == ByHand::Workload)
    }

    pub(super) fn field_manager(&self) -> &'static str {
        match self {
            Self::Push(_) => FIELD_MANAGER,
            Self::ByHand(_) => BY_HAND_FIELD_MANAGER,
        }
    }

    pub(super) fn restarted(&self, workload: &WorkloadRef, restart: Restart) -> WorkloadResult {
        let code = if self.names_the_workload() { Code::Named } else { Code::RunsImage };
        let result = WorkloadResult::new(workload, Action::Restarted, code, restart.reason);
        WorkloadResult { warnings: restart.warnings, ..result }
    }

    /// An index may name what is no more; a person who does is wrong.
    pub(super) fn gone(&self, workload: &WorkloadRef) -> WorkloadResult {
        if self.names_the_workload() {
            WorkloadResult::new(workload, Action::Failed, Code::Gone, "it does not exist")
        } else {
            WorkloadResult::new(workload, Action::Skipped, Code::Gone, "it does not exist any more")
        }
    }
}
