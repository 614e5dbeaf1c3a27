use std::str::FromStr as _;

use super::*;
use crate::rollout::Code;
use crate::workload::{WorkloadKind, WorkloadRef};

fn workload(code: Code) -> WorkloadResult {
    WorkloadResult::new(&WorkloadRef::new("n", WorkloadKind::Deployment, "w"), code, "because")
}

fn answer(workloads: Vec<WorkloadResult>) -> Answer {
    Answer::of_workloads(ImageRef::from_str("web:1").unwrap(), workloads, Mode::Apply)
}

/// DESIGN, decision 7: the outcome is the first that holds, and each outcome has one status.
#[test]
fn each_outcome_has_its_status() {
    let restarted = || workload(Code::RunsImage);
    let current = || workload(Code::AlreadyRestarted);
    let deferred = || workload(Code::Cooldown);
    let skipped = || workload(Code::OptedOut);
    let denied = || workload(Code::Denied);
    let unreachable = || workload(Code::Unreachable);
    for (workloads, outcome, status) in [
        (vec![], Outcome::NotInUse, 200),
        (vec![skipped()], Outcome::Skipped, 200),
        (vec![skipped(), current()], Outcome::Current, 200),
        (vec![skipped(), current(), restarted()], Outcome::Restarted, 200),
        (vec![skipped(), deferred(), current()], Outcome::Deferred, 200),
        (vec![deferred(), restarted()], Outcome::Restarted, 200),
        (vec![deferred(), unreachable()], Outcome::Failed, 503),
        (vec![denied()], Outcome::Deferred, 200),
        (vec![restarted(), denied()], Outcome::Restarted, 200),
        (vec![restarted(), denied(), unreachable()], Outcome::Failed, 503),
        (vec![workload(Code::Forbidden)], Outcome::Failed, 503),
        (vec![workload(Code::TimedOut)], Outcome::Failed, 503),
    ] {
        let answer = answer(workloads);
        assert_eq!((answer.outcome, answer.status(Poison::Ack)), (outcome, status), "{:?}", answer.workloads);
    }
    let unproven = Answer { outcome: Outcome::Failed, code: Some(AnswerCode::NotProven), ..answer(vec![restarted()]) };
    assert_eq!(unproven.status(Poison::Ack), 503);
}

#[test]
fn only_junk_is_poison() {
    let status = |code, poison| Answer::ignored(NotForUs { code, reason: String::new() }).status(poison);
    for code in [NotForUsCode::Deleted, NotForUsCode::Untagged, NotForUsCode::Signature] {
        assert_eq!((status(code, Poison::Ack), status(code, Poison::Nack)), (200, 200));
    }
    for code in [NotForUsCode::NotJson, NotForUsCode::Empty, NotForUsCode::InvalidReference] {
        assert_eq!((status(code, Poison::Ack), status(code, Poison::Nack)), (200, 422));
    }
}

#[test]
fn an_answer_is_written_as_documented() {
    let mut answer = answer(vec![workload(Code::RunsImage)]);
    answer.published = "2026-11-20T09:16:40.380Z".parse().ok();
    let expected = serde_json::json!({
        "outcome": "restarted",
        "image": "web:1",
        "published": "2026-11-20T09:16:40.380Z",
        "workloads": [{"namespace": "n", "kind": "Deployment", "name": "w", "action": "restarted", "code": "runs_image", "reason": "because"}],
    });
    assert_eq!(serde_json::to_value(&answer).unwrap(), expected);
    answer.code = Some(AnswerCode::NotProven);
    assert_eq!(serde_json::to_value(&answer).unwrap()["code"], "not_proven");
}
