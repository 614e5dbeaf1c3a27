//! A restart: what it reads and writes, what it warns of, how many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_restart_is_one_look_and_one_write_of_two_annotations);
    suite.on_both(a_restart_that_is_not_seen_at_once_says_why);
    suite.on_both(never_more_restarts_at_once_than_permitted);
}

async fn a_restart_is_one_look_and_one_write_of_two_annotations(ground: Ground) {
    let image = ground.image("web");
    let workloads = [
        deployment(ground.namespace(), "a-deployment", &image),
        stateful_set(ground.namespace(), "a-stateful-set", &image),
        daemon_set(ground.namespace(), "a-daemon-set", &image),
    ];
    let mut before = Vec::new();
    for workload in &workloads {
        ground.create(workload).await;
        if ground.is_control_plane() {
            ground.rolled_out(workload).await;
        }
        before.push(ground.get(workload).await);
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let started = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());

    for (workload, before) in workloads.iter().zip(before) {
        let after = ground.get(workload).await;
        let result = result_of(&answer.json(), workload);
        assert_eq!(result["action"], "restarted", "{result}");
        assert_eq!(result["code"], "runs_image", "{result}");
        assert_eq!(result["reason"], "runs the image", "{result}");

        let annotations = &after["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations.as_object().unwrap().len(), 2, "{annotations}");
        let restarted_at = annotations[RESTARTED_AT].as_str().unwrap();
        assert!(!restarted_at.contains('.'), "kubectl writes whole seconds: {restarted_at}");
        let restarted_at: Timestamp = restarted_at.parse().unwrap();
        assert!((started..=Timestamp::now()).contains(&restarted_at), "{restarted_at}");
        assert_is_record_of(annotations, &push);

        let ours: Vec<&Value> = managed_by(&after, "pushroll");
        assert_eq!(ours.len(), 1, "{after}");
        assert_eq!(ours[0]["operation"], "Update");
        let owned = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
            ".": {}, (format!("f:{RESTARTED_AT}")): {}, (format!("f:{RECORD}")): {},
        }}}}});
        let mut fields = ours[0]["fieldsV1"].clone();
        // The label by which the rollout is followed, until its end.
        if let Some(metadata) = fields.as_object_mut().unwrap().remove("f:metadata") {
            let labels = metadata["f:labels"].as_object().unwrap();
            assert!(labels.keys().all(|key| [".", "f:pushroll.dev/following"].contains(&key.as_str())), "{metadata}");
        }
        assert_eq!(fields, owned);
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"].as_i64().unwrap() + 1);
        assert_eq!(without_bookkeeping(after), without_bookkeeping(before), "something else was changed");

        let calls = service
            .api_calls()
            .into_iter()
            .filter(|call| call.name.as_deref() == workload["metadata"]["name"].as_str());
        let calls: Vec<_> = calls.map(|call| (call.verb, call.uri)).collect();
        assert!(calls.iter().step_by(2).all(|(verb, _)| verb == "get"), "{calls:?}");
        assert!(
            calls
                .iter()
                .skip(1)
                .step_by(2)
                .all(|(verb, uri)| verb == "patch" && uri.ends_with("?fieldManager=pushroll"))
        );
        // A controller may write the status in between: then it is looked at again.
        assert!(if ground.is_control_plane() { calls.len().is_multiple_of(2) } else { calls.len() == 2 }, "{calls:?}");
    }
}

fn assert_is_record_of(annotations: &Value, push: &PushMessage) {
    let record: Value = serde_json::from_str(annotations[RECORD].as_str().unwrap()).unwrap();
    assert_eq!(record.as_object().unwrap().len(), 1, "{record}");
    let recorded = &record[&push.image];
    assert_eq!((&recorded["digest"], &recorded["message_id"]), (&json!(push.digest), &json!(push.id)), "{record}");
    let published: Timestamp = recorded["published"].as_str().unwrap().parse().unwrap();
    assert_eq!(published.as_millisecond(), push.published.as_millisecond());
}

fn managed_by<'a>(object: &'a Value, manager: &str) -> Vec<&'a Value> {
    object["metadata"]["managedFields"].as_array().unwrap().iter().filter(|entry| entry["manager"] == manager).collect()
}

/// Without what any write changes, what controllers write, the two annotations, and the label of following.
fn without_bookkeeping(mut object: Value) -> Value {
    object["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("annotations");
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in ["generation", "managedFields", "resourceVersion"] {
        metadata.remove(key);
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.remove("pushroll.dev/following");
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
    // A Deployment's revision, a DaemonSet's template generation.
    metadata.remove("annotations");
    object
}

async fn a_restart_that_is_not_seen_at_once_says_why(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let with = |mut workload: Value, path: &str, value: Value| {
        *workload.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        workload
    };
    let spec = |mut workload: Value, key: &str, value: Value| {
        workload["spec"][key] = value;
        workload
    };
    let policy = "/spec/template/spec/containers/0/imagePullPolicy";
    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    let of = |name| deployment(namespace, name, &image);
    let stateful = |name| spec(stateful_set(namespace, name, &image), "replicas", json!(2));
    let cases = [
        (of("plain"), json!(null), ""),
        (spec(of("paused"), "paused", json!(true)), json!(["paused"]), "paused: it rolls on resume"),
        (spec(of("empty"), "replicas", json!(0)), json!(["zero_replicas"]), "has no replicas"),
        (spec(stateful("partition"), "updateStrategy", partition), json!(["partition"]), "below ordinal 1"),
        (with(of("pulled-once"), policy, json!("IfNotPresent")), json!(["pull_policy"]), "does not pull it again"),
        (
            spec(spec(of("paused-and-empty"), "paused", json!(true)), "replicas", json!(0)),
            json!(["paused", "zero_replicas"]),
            "rolls on resume; has no replicas",
        ),
    ];
    for (workload, ..) in &cases {
        ground.create(workload).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (workload, warnings, sentence) in &cases {
        let result = result_of(&answer.json(), workload);
        assert_eq!((&result["action"], &result["warnings"]), (&json!("restarted"), warnings), "{result}");
        assert!(result["reason"].as_str().unwrap().contains(sentence), "{result}");
        assert_eq!(ground.generation(workload).await, 2, "{result}");
    }
}

/// The proxy holds every look at a workload. With two permits two are held, however many others want to come,
/// and however much else happens meanwhile.
async fn never_more_restarts_at_once_than_permitted(ground: Ground) {
    const PERMITTED: usize = 2;
    let image = ground.image("web");
    let workloads: Vec<Value> =
        (0..12).map(|number| deployment(ground.namespace(), &format!("web-{number}"), &image)).collect();
    for workload in &workloads {
        ground.create(workload).await;
    }
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (open, gate) = watch::channel(false);
    let (now_held, most_held) = (Arc::clone(&held), Arc::clone(&most));
    let proxy = ApiProxy::start(&ground, move |request| {
        let (held, most, mut gate) = (Arc::clone(&now_held), Arc::clone(&most_held), gate.clone());
        async move {
            if request.uri.contains("/deployments/web-") {
                most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = gate.wait_for(|open| *open).await;
                held.fetch_sub(1, Ordering::SeqCst);
            }
            Passage::Forward
        }
    });
    let proxy = proxy.await;
    let service = ground.service().through(&proxy).arguments(["--hold", "60s", "--concurrency", "2"]);
    let service = service.start_ready().await;

    let push = PushMessage::now(&image, 0xaa);
    let (answer, ()) = tokio::join!(service.push(&push), async {
        eventually("the permits are taken", async || (held.load(Ordering::SeqCst) == PERMITTED).then_some(())).await;
        for _ in 0..20 {
            let _ = get(&format!("{}/v1/status", service.internal)).await;
        }
        open.send_replace(true);
    });
    assert_eq!(most.load(Ordering::SeqCst), PERMITTED);
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    for workload in &workloads {
        assert_eq!(result_of(&answer.json(), workload)["action"], "restarted");
        assert_eq!(ground.generation(workload).await, 2);
    }
}
