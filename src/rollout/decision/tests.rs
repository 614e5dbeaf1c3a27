mod clocks;
mod looks;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clock::ServerClock;
use crate::index::Scope;
use crate::rollout::{FIELD_MANAGER, RESTARTED_AT_ANNOTATION};
use crate::workload::WorkloadKind;

const IMAGE: &str = "registry.example/web:1";

fn not_permitted() -> PodsNotSeen {
    PodsNotSeen::NotPermitted("not permitted".to_owned())
}

fn web() -> WorkloadRef {
    WorkloadRef::new("n", WorkloadKind::Deployment, "web")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn push(published: i64, id: &str, byte: &str) -> Push {
    Push {
        image: IMAGE.parse().unwrap(),
        digest: Some(digest(byte).parse().unwrap()),
        published: Some(at(published)),
        received: at(published + 1),
        message_id: Some(id.to_owned()),
        clock_agrees: true,
        waiting_since: None,
    }
}

/// A Deployment that runs the image; `change` edits its JSON.
fn object(change: impl FnOnce(&mut Value)) -> WorkloadObject {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "n", "resourceVersion": "7", "uid": "u", "managedFields": []},
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {"annotations": {}},
                "spec": {"containers": [{"name": "web", "image": IMAGE, "imagePullPolicy": "Always"}]},
            },
        },
    });
    change(&mut value);
    serde_json::from_str(&value.to_string()).unwrap()
}

fn managed(manager: &str, time: i64, annotations: &[&str], other: &[&str]) -> Value {
    let annotations: Value =
        annotations.iter().map(|key| (format!("f:{key}"), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let mut template = json!({"f:metadata": {"f:annotations": annotations}});
    for field in other {
        template[format!("f:{field}")] = json!({});
    }
    json!({"manager": manager, "operation": "Update", "time": at(time).to_string(), "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:template": template}}})
}

fn recorded(value: &mut Value, of: &Push, managed_fields: &[Value]) {
    let restarted_at = at(100).to_string();
    let record = Record::default().with(of, &restarted_at, |_| true).encode();
    let annotations = json!({RECORD_ANNOTATION: record, RESTARTED_AT_ANNOTATION: restarted_at});
    value["spec"]["template"]["metadata"]["annotations"] = annotations;
    value["metadata"]["managedFields"] = managed_fields.into();
}

fn decided(object: &WorkloadObject, push: &Push) -> (Code, String) {
    decided_under(object, push, &Policy::everything(), 0)
}

fn decided_under(object: &WorkloadObject, push: &Push, policy: &Policy, server_ahead: i64) -> (Code, String) {
    let server = ServerClock::unknown();
    let now = at(1000);
    let date = at(1000 + server_ahead).to_zoned(jiff::tz::TimeZone::UTC);
    server.observe(&jiff::fmt::rfc2822::to_string(&date).unwrap(), now, now);
    let clocks = Clocks { now, server: &server, margin: Duration::from_secs(10) };
    // As without the permission to list pods.
    let known = Known { pods: Some(Err(&not_permitted())), ..Known::default() };
    match decide(&web(), object, push, known, policy, clocks) {
        Decision::Restart(restart) => (restart.code, restart.reason),
        Decision::Wait(wait) => (wait.code, wait.reason),
        Decision::Leave(leave) => (leave.code, leave.reason),
        Decision::Look(question) => panic!("{question:?} again"),
    }
}

fn code(object: &WorkloadObject, push: &Push) -> Code {
    decided(object, push).0
}

const OURS: [&str; 2] = [RECORD_ANNOTATION, RESTARTED_AT_ANNOTATION];

#[test]
fn a_push_in_order_restarts_and_any_other_does_not() {
    let first = push(100, "1", "aa");
    let done = object(|v| recorded(v, &first, &[managed(FIELD_MANAGER, 100, &OURS, &[])]));
    assert_eq!(code(&object(|_| {}), &first), Code::RunsImage);
    assert_eq!(code(&done, &first), Code::AlreadyRestarted);
    assert_eq!(code(&done, &push(99, "9", "bb")), Code::NewerPushDone);
    assert_eq!(code(&done, &push(101, "2", "bb")), Code::RunsImage);
    assert_eq!(code(&done, &push(101, "2", "aa")), Code::RunsImage, "only the pods show what they run");
}

#[test]
fn a_record_that_is_kept_elsewhere_counts_with_its_restart() {
    let first = push(100, "1", "aa");
    let kept = |restarted_at: &str| KeptRecord {
        workload: WorkloadRef::new("n", Default::default(), "web"),
        restarted_at: restarted_at.to_owned(),
        record: Record::default().with(&first, restarted_at, |_| true),
        since: at(100),
    };
    let server = ServerClock::unknown();
    let clocks = Clocks { now: at(1000), server: &server, margin: Duration::from_secs(10) };
    let bare = object(|v| {
        v["spec"]["template"]["metadata"]["annotations"] = json!({RESTARTED_AT_ANNOTATION: at(101).to_string()});
    });
    let code = |object: &WorkloadObject, push: &Push, kept: &KeptRecord| {
        let known = Known { kept: Some(kept), ..Known::default() };
        match decide(&web(), object, push, known, &Policy::everything(), clocks) {
            Decision::Leave(leave) => leave.code,
            _ => Code::RunsImage,
        }
    };
    let of_template = kept(&at(101).to_string());
    assert_eq!(code(&bare, &first, &of_template), Code::AlreadyRestarted);
    assert_eq!(code(&bare, &push(99, "9", "bb"), &of_template), Code::NewerPushDone);
    assert_eq!(code(&bare, &push(101, "2", "bb"), &of_template), Code::RunsImage);
    // The template was put back.
    let put_back = kept(&at(50).to_string());
    assert_eq!(code(&bare, &first, &put_back), Code::AlreadyRestarted);
    assert_eq!(code(&bare, &push(99, "9", "bb"), &put_back), Code::NewerPushDone);
    assert_eq!(code(&bare, &push(101, "2", "bb"), &put_back), Code::RunsImage);
}

/// Its controller has put back what it was before our last restart, and that has an older record.
#[test]
fn a_template_that_was_put_back_does_not_take_the_record_back() {
    let (first, second, older) = (push(100, "1", "aa"), push(200, "2", "bb"), push(99, "9", "cc"));
    let side = "registry.example/side:1";
    let put_back = object(|v| {
        recorded(v, &first, &[managed("operator", 210, &OURS, &["spec"])]);
        let side = json!({"name": "side", "image": side, "imagePullPolicy": "Always"});
        v["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(side);
    });
    let kept = KeptRecord {
        workload: WorkloadRef::new("n", Default::default(), "web"),
        restarted_at: at(201).to_string(),
        record: Record::default().with(&second, &at(201).to_string(), |_| true),
        since: at(201),
    };
    let server = ServerClock::unknown();
    let clocks = Clocks { now: at(1000), server: &server, margin: Duration::from_secs(10) };
    let decided = |push: &Push| {
        let known = Known { kept: Some(&kept), pods: Some(Err(&not_permitted())), ..Known::default() };
        decide(&web(), &put_back, push, known, &Policy::everything(), clocks)
    };
    let left = |push: &Push| match decided(push) {
        Decision::Leave(leave) => leave.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [&second, &first, &older].map(left),
        [Code::AlreadyRestarted, Code::AlreadyRestarted, Code::NewerPushDone]
    );
    let of_side = Push { image: side.parse().unwrap(), ..push(300, "3", "dd") };
    let Decision::Restart(restart) = decided(&of_side) else { panic!("it runs the image") };
    let record = restart.record.unwrap();
    assert_eq!(record.get(IMAGE).unwrap().order(), second.order());
    assert_eq!(record.get(side).unwrap().order(), of_side.order());
}

#[test]
fn one_restart_is_for_every_push_that_has_come() {
    let both = object(|v| {
        let side = json!({"name": "side", "image": "registry.example/side:1", "imagePullPolicy": "Always"});
        v["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(side);
    });
    let of = |image: &str, published, id| Push { image: image.parse().unwrap(), ..push(published, id, "bb") };
    let others = [
        of("registry.example/side:1", 200, "2"),
        of(IMAGE, 300, "3"),
        of(IMAGE, 250, "4"),
        of("registry.example/elsewhere:1", 200, "5"),
    ];
    let others = others.map(Arc::new);
    let known = Known { others: &others, pods: Some(Err(&not_permitted())), ..Known::default() };
    let server = ServerClock::unknown();
    let clocks = Clocks { now: at(1000), server: &server, margin: Duration::from_secs(10) };
    let decision = decide(&web(), &both, &push(100, "1", "aa"), known, &Policy::everything(), clocks);
    let Decision::Restart(restart) = decision else { panic!("{decision:?}") };
    let record = restart.record.unwrap();
    let id = |image: &str| record.get(image).map(|recorded| recorded.message_id.clone().unwrap());
    assert_eq!(id(IMAGE).as_deref(), Some("3"), "the newest");
    assert_eq!(id("registry.example/side:1").as_deref(), Some("2"));
    assert_eq!(id("registry.example/elsewhere:1"), None);
}

#[test]
fn what_does_not_follow_the_tag_is_left() {
    let the_push = push(100, "1", "aa");
    let running = |image: &str| {
        object(|v| {
            v["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            v["status"] = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        })
    };
    assert_eq!(code(&running("registry.example/web:2"), &the_push), Code::ImageChanged);
    assert_eq!(code(&running(&format!("{IMAGE}@{}", digest("aa"))), &the_push), Code::PinnedByDigest);
    assert_eq!(code(&object(|v| v["metadata"]["deletionTimestamp"] = json!(at(5).to_string())), &the_push), Code::Gone);
    let init = object(|v| {
        v["spec"]["template"]["spec"] = json!({"containers": [{"image": "other"}], "initContainers": [{"image": IMAGE, "imagePullPolicy": "Always"}]});
    });
    assert_eq!(code(&init, &the_push), Code::RunsImage);
    let volume = object(|v| {
        v["spec"]["template"]["spec"] =
            json!({"containers": [{"image": "other"}], "volumes": [{"name": "a"}, {"image": {"reference": IMAGE}}]});
    });
    assert_eq!(code(&volume, &the_push), Code::RunsImage);
}

#[test]
fn who_may_not_be_touched_is_left() {
    let the_push = push(100, "1", "aa");
    let annotated = |value: &str| object(|v| v["metadata"]["annotations"] = json!({"pushroll.dev/restart": value}));
    assert_eq!(code(&annotated("false"), &the_push), Code::OptedOut);
    assert_eq!(code(&annotated("no"), &the_push), Code::OptedOut);
    assert_eq!(code(&annotated("true"), &the_push), Code::RunsImage);
    let opt_in = Policy { opt_in: true, ..Policy::everything() };
    assert_eq!(decided_under(&object(|_| {}), &the_push, &opt_in, 0).0, Code::OutOfScope);
    assert_eq!(decided_under(&annotated("true"), &the_push, &opt_in, 0).0, Code::RunsImage);
    let selector = Policy { selector: "app=web".parse().ok(), ..Policy::everything() };
    assert_eq!(decided_under(&object(|_| {}), &the_push, &selector, 0).0, Code::OutOfScope);
    let labelled = object(|v| v["metadata"]["labels"] = json!({"app": "web"}));
    assert_eq!(decided_under(&labelled, &the_push, &selector, 0).0, Code::RunsImage);
    let narrow = Policy { scope: Scope::of(&["m".to_owned()]), ..Policy::everything() };
    let workload = crate::workload::WorkloadRef::new("n", Default::default(), "web");
    assert_eq!(narrow.refuses_namespace(&workload).unwrap().code, Code::OutOfScope);
}

#[test]
fn what_a_restart_may_not_bring_is_said() {
    let the_push = push(100, "1", "aa");
    let reason = |change: fn(&mut Value)| decided(&object(change), &the_push).1;
    assert_eq!(reason(|_| {}), "runs the image; its pods could not be looked at: not permitted");
    assert!(reason(|v| v["spec"]["paused"] = json!(true)).contains("rolls on resume"));
    assert!(reason(|v| v["spec"]["replicas"] = json!(0)).contains("no replicas"));
    let strategy = |v: &mut Value| {
        v["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    };
    assert!(reason(strategy).contains("below ordinal 2"));
    assert!(
        reason(|v| v["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent"))
            .contains("not Always")
    );
    let never = object(|v| v["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Never"));
    assert_eq!(code(&never, &the_push), Code::NeverPulls);
    let on_delete = object(|v| v["spec"]["updateStrategy"] = json!({"type": "OnDelete"}));
    assert_eq!(code(&on_delete, &the_push), Code::OnDelete);
    let spoilt = |v: &mut Value| v["spec"]["template"]["metadata"]["annotations"] = json!({RECORD_ANNOTATION: "{"});
    assert!(reason(spoilt).contains("could not be read"));
}
