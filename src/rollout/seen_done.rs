//! What this process has seen done for a message at its earlier deliveries.

use std::sync::Arc;

use super::code::{Action, Code};
use super::workload_result::{ALREADY_RESTARTED, WorkloadResult};
use crate::workload::WorkloadRef;

/// The workloads that need no look at the next delivery of the message, and the result that each has there.
#[derive(Debug, Clone, Default)]
pub struct SeenDone(Arc<[WorkloadResult]>);

impl SeenDone {
    /// Those of the results of a delivery that its next delivery cannot change, at most `max` of them.
    pub fn of(results: &[WorkloadResult], max: usize) -> Self {
        // An undo or a re-creation may bring back what is gone.
        let may_return = |code| matches!(code, Code::ImageChanged | Code::Gone);
        let done = results.iter().filter(|result| !result.code.is_transient_failure() && !may_return(result.code));
        let done = done.take(max);
        let mut done: Vec<WorkloadResult> = done.map(at_next_delivery).collect();
        WorkloadResult::sort(&mut done);
        Self(done.into())
    }

    /// The result of a workload that was done.
    pub(super) fn get(&self, workload: &WorkloadRef) -> Option<&WorkloadResult> {
        let order = (&*workload.namespace, workload.kind, &*workload.name);
        let place = self.0.binary_search_by(|result| result.order().cmp(&order)).ok()?;
        self.0.get(place)
    }

    /// How many there are.
    pub fn workloads(&self) -> usize {
        self.0.len()
    }
}

fn at_next_delivery(result: &WorkloadResult) -> WorkloadResult {
    match result.action() {
        Action::Restarted => WorkloadResult::new(&result.workload(), Code::AlreadyRestarted, ALREADY_RESTARTED),
        _ => result.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WorkloadKind;

    fn workload(name: &str) -> WorkloadRef {
        WorkloadRef::new("shop", WorkloadKind::Deployment, name)
    }

    #[test]
    fn what_is_done_is_found_with_its_next_result_and_what_failed_is_not() {
        let result = |name, code| WorkloadResult::new(&workload(name), code, "because");
        let results = [
            result("web", Code::RunsImage),
            result("api", Code::OptedOut),
            result("job", Code::TimedOut),
            result("old", Code::AlreadyRestarted),
        ];
        let done = SeenDone::of(&results, 10);
        let code = |name| done.get(&workload(name)).map(|result| (result.code, result.reason.as_str()));
        assert_eq!(code("web"), Some((Code::AlreadyRestarted, ALREADY_RESTARTED)));
        assert_eq!(code("api"), Some((Code::OptedOut, "because")));
        assert_eq!(code("old"), Some((Code::AlreadyRestarted, "because")));
        assert_eq!((code("job"), code("nobody")), (None, None));
        assert_eq!((done.workloads(), SeenDone::of(&results, 2).workloads()), (3, 2));
    }
}
