//! What came of one workload, for the answer and for the ConfigMap of what waits.

use super::code::Code;
use super::waiting::Changes;
use super::workload_result::WorkloadResult;
use crate::cluster::ApiError;

/// What came of one workload, and what to write to the ConfigMap of what waits.
#[derive(Debug)]
pub(super) struct OneResult {
    pub(super) result: WorkloadResult,
    pub(super) changes: Changes,
}

/// The code of a failure that the next delivery may mend.
pub(super) fn failure_code(error: &ApiError) -> Code {
    match error {
        ApiError::Forbidden(_) | ApiError::Unauthorized(_) => Code::Forbidden,
        ApiError::Unreachable(_) | ApiError::TimedOut(_) => Code::Unreachable,
        ApiError::TooBusy(_) => Code::TooBusy,
        ApiError::NoPermit { .. } => Code::TimedOut,
        _ => Code::ApiError,
    }
}

impl From<WorkloadResult> for OneResult {
    fn from(result: WorkloadResult) -> Self {
        Self { result, changes: Changes::default() }
    }
}
