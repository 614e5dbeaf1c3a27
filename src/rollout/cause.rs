//! The cause of a restart, and what depends on it.

use std::sync::Arc;

use super::code::Code;
use super::context::RestartContext;
use super::decision::by_hand::{ByHand, decide_by_hand};
use super::decision::{Decision, Known, decide};
use super::push::Push;
use super::workload_result::WorkloadResult;
use super::{BY_HAND_FIELD_MANAGER, FIELD_MANAGER};
use crate::cluster::WorkloadObject;
use crate::workload::WorkloadRef;

/// What asks for a restart.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// A push: the workload is restarted once for it and gets a record of it.
    Push(Arc<Push>),
    /// A person: the workload is restarted now, without a record.
    ByHand(Arc<ByHand>),
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

    pub(super) fn is_push(&self) -> bool {
        matches!(self, Self::Push(_))
    }

    /// Whether it is a push that has a place in the order of pushes.
    pub(super) fn has_order(&self) -> bool {
        matches!(self, Self::Push(push) if push.order().is_some())
    }

    pub(super) fn decide(
        &self,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        known: Known<'_>,
        context: &RestartContext,
    ) -> Decision {
        match self {
            Self::Push(push) => decide(workload, object, push, known, &context.policy, context.clocks()),
            Self::ByHand(asked) => decide_by_hand(workload, object, asked, &context.policy, context.clocks()),
        }
    }

    /// The result for a workload that does not exist. An index may be outdated and name one; a person who names one is
    /// mistaken.
    pub(super) fn not_found(&self, workload: &WorkloadRef) -> WorkloadResult {
        if self.names_the_workload() {
            WorkloadResult::new(workload, Code::NotFound, "it does not exist")
        } else {
            WorkloadResult::new(workload, Code::Gone, "it does not exist any more")
        }
    }
}
