//! Restarts that count because clocks show that they came after the push.

use super::*;

#[test]
fn a_restart_of_ours_after_the_push_counts_by_the_clocks() {
    let restarted = |at_second: i64, edit: fn(&mut Value)| {
        object(|v| {
            recorded(v, &push(90, "1", "aa"), &[]);
            let annotations = &mut v["spec"]["template"]["metadata"]["annotations"];
            let at = at(at_second).to_string();
            let record = annotations[RECORD_ANNOTATION].as_str().unwrap().replace(&self::at(100).to_string(), &at);
            *annotations = json!({RECORD_ANNOTATION: record, RESTARTED_AT_ANNOTATION: at});
            edit(v);
        })
    };
    let as_it_is = |_: &mut Value| {};
    let the_push = push(500, "2", "bb");
    assert_eq!(code(&restarted(600, as_it_is), &the_push), Code::RestartedSince);
    assert_eq!(code(&restarted(515, as_it_is), &the_push), Code::RunsImage, "each clock may be off by the margin");
    assert_eq!(code(&restarted(400, as_it_is), &the_push), Code::RunsImage, "before");
    assert_eq!(code(&restarted(5000, as_it_is), &the_push), Code::RunsImage, "in the future");
    let unknown = Push { clock_agrees: false, ..the_push.clone() };
    assert_eq!(code(&restarted(600, as_it_is), &unknown), Code::RunsImage, "Pub/Sub's clock is not known");
    let without_time = Push { published: None, ..the_push.clone() };
    assert_eq!(code(&restarted(600, as_it_is), &without_time), Code::RunsImage);
    let skewed = decided_under(&restarted(600, as_it_is), &the_push, &Policy::everything(), 300);
    assert_eq!(skewed.0, Code::RunsImage, "clocks that are minutes apart prove nothing");
    let another_image = |v: &mut Value| {
        let record = &mut v["spec"]["template"]["metadata"]["annotations"][RECORD_ANNOTATION];
        *record = record.as_str().unwrap().replace("web:1", "side:1").into();
    };
    assert_eq!(code(&restarted(600, another_image), &the_push), Code::RestartedSince, "for a push of another image");
    let by_other = |v: &mut Value| {
        v["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT_ANNOTATION] = json!(at(601).to_string());
    };
    assert_eq!(code(&restarted(600, by_other), &the_push), Code::RunsImage, "the last restart was not ours");
}

#[test]
fn what_waits_is_judged_by_the_api_servers_clock_alone() {
    let waits = Push { waiting_since: Some(at(500)), clock_agrees: false, digest: None, ..push(495, "2", "bb") };
    let restarted = |at_second: i64| {
        object(|v| {
            recorded(v, &push(90, "1", "aa"), &[]);
            let annotations = &mut v["spec"]["template"]["metadata"]["annotations"];
            let record = annotations[RECORD_ANNOTATION].as_str().unwrap();
            let at = self::at(at_second).to_string();
            let record = record.replace(&self::at(100).to_string(), &at);
            *annotations = json!({RECORD_ANNOTATION: record, RESTARTED_AT_ANNOTATION: at});
        })
    };
    assert_eq!(code(&restarted(504), &waits), Code::RestartedSince);
    assert_eq!(code(&restarted(503), &waits), Code::RunsImage, "both are known to a few seconds");
    let by_other = |by_client: i64, by_server: i64| {
        object(|v| {
            let annotations = json!({RESTARTED_AT_ANNOTATION: at(by_client).to_string()});
            v["spec"]["template"]["metadata"]["annotations"] = annotations;
            v["metadata"]["managedFields"] = json!([managed("kubectl", by_server, &[RESTARTED_AT_ANNOTATION], &[])]);
        })
    };
    assert_eq!(code(&by_other(501, 502), &waits), Code::RestartedByOther);
    assert_eq!(code(&by_other(400, 502), &waits), Code::RunsImage, "an undo brings an old value back");
    assert_eq!(code(&by_other(501, 400), &waits), Code::RunsImage);
    assert_eq!(code(&by_other(5000, 5000), &waits), Code::RunsImage, "in the future");
}

#[test]
fn a_restart_by_someone_else_counts_when_both_clocks_say_so() {
    let restarted = |by_client: i64, by_server: i64| {
        object(|v| {
            let annotations = json!({RESTARTED_AT_ANNOTATION: at(by_client).to_string()});
            v["spec"]["template"]["metadata"]["annotations"] = annotations;
            v["metadata"]["managedFields"] =
                json!([managed("kubectl-rollout", by_server, &[RESTARTED_AT_ANNOTATION], &[])]);
        })
    };
    let the_push = push(500, "1", "aa");
    assert_eq!(code(&restarted(600, 600), &the_push), Code::RestartedByOther);
    assert_eq!(code(&restarted(505, 600), &the_push), Code::RunsImage, "within the margin");
    assert_eq!(code(&restarted(600, 400), &the_push), Code::RunsImage);
    assert_eq!(code(&restarted(400, 600), &the_push), Code::RunsImage, "another change by the same manager");
    assert_eq!(code(&restarted(5000, 5000), &the_push), Code::RunsImage, "in the future");
    let skewed = decided_under(&restarted(600, 600), &the_push, &Policy::everything(), 300);
    assert_eq!(skewed.0, Code::RunsImage, "clocks that are minutes apart prove nothing");
}
