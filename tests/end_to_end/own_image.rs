//! A push of pushroll's own image: its own workload comes last, and the answer is sent while the process drains.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pushroll::delivery::OwnPod;
use serde_json::{Value, json};

use crate::support::documents::document;
use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::{ApiCall, Ground};
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::service::{Service, ServiceBuilder};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_of_its_own_image_restarts_itself_last);
    suite.on_both(every_kind_of_workload_knows_itself);
    suite.on_both(it_waits_for_what_others_are_left_of);
    suite.on_both(the_push_that_ends_it_is_answered);
}

/// Where the kubelet gives it no other name.
const POD: &str = "pushroll-6b7d9c5f8-x2x4z";

/// Makes the workload idle: no controller writes to it.
fn idle(mut manifest: Value) -> Value {
    if manifest["kind"] == "DaemonSet" {
        manifest["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "node"});
    } else {
        manifest["spec"]["replicas"] = json!(0);
    }
    manifest
}

/// The workloads that were patched until the first PATCH of this one, and after it; each once. On the real control plane
/// a status may be written in between, and what is refused for that is tried again.
fn patched(service: &Service, since: usize, own: &Value) -> [BTreeSet<String>; 2] {
    let calls = service.api_calls().split_off(since).into_iter();
    let patches = calls.filter(|call| call.verb == "patch" && call.resource != "configmaps");
    let workloads = patches.map(|call| format!("{}/{}", call.namespace.unwrap(), call.name.unwrap()));
    let workloads: Vec<String> = workloads.collect();
    let first = workloads.iter().position(|workload| *workload == name_of(own)).unwrap();
    [&workloads[..first], &workloads[first..]].map(|part| part.iter().cloned().collect())
}

fn name_of(manifest: &Value) -> String {
    let metadata = &manifest["metadata"];
    format!("{}/{}", metadata["namespace"].as_str().unwrap(), metadata["name"].as_str().unwrap())
}

/// All the others, and then itself.
fn is_last<'a>(service: &Service, since: usize, own: &Value, others: impl IntoIterator<Item = &'a Value>) {
    let expected = [others.into_iter().map(name_of).collect(), [name_of(own)].into()];
    assert_eq!(patched(service, since, own), expected);
}

/// Those that the index names, those that only a scan finds, and itself, which both name: last, in whatever order.
async fn a_push_of_its_own_image_restarts_itself_last(ground: Ground) {
    let image = ground.image("pushroll");
    let manifest = |name: &str| idle(deployment(ground.namespace(), name, &image));
    // Before and behind it by name; and one in another namespace has its name without being it.
    let (known, found) = (["a-known", "z-known"].map(manifest), ["a-found", "z-found"].map(manifest));
    let own = manifest("pushroll");
    let elsewhere = ground.another_namespace("elsewhere").await;
    let namesake = idle(deployment(&elsewhere, "pushroll", &image));
    for workload in known.iter().chain(&found).chain([&own, &namesake]) {
        ground.create(workload).await;
    }
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &[&known[0], &own, &known[1]])]));
    let namespace = ground.namespace().to_owned();
    let service = ground
        .service_in_process()
        .mount(volume.directory())
        .configure(|config| config.own_pod = Some(OwnPod { namespace, name: POD.to_owned() }))
        .start_ready()
        .await;
    for round in 1..=3 {
        let before = service.api_calls().len();
        let message = PushMessage::now(&image, round);
        let answer = service.push(&message).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
        let of_own = result_of(&answer.json(), &own);
        assert_eq!([&of_own["action"], &of_own["code"]], [&json!("restarted"), &json!("runs_image")]);
        assert!(of_own["reason"].as_str().unwrap().ends_with("it is pushroll itself and comes last"), "{of_own}");
        is_last(&service, before, &own, known.iter().chain(&found).chain([&namesake]));
        // The last call of the push: nothing else is done after it. Following may GET a workload at any time.
        let of_push = |call: &ApiCall| call.resource == "deployments" && call.verb != "get";
        let last = service.api_calls().into_iter().rfind(of_push).unwrap();
        assert_eq!((&*last.verb, last.namespace.as_deref()), ("patch", Some(ground.namespace())), "{last:?}");
        assert_eq!(service.push(&message).await.json()["outcome"], "current");
        for workload in known.iter().chain(&found).chain([&own, &namesake]) {
            assert_eq!(ground.generation(workload).await, 1 + i64::from(round), "{workload}");
        }
    }
}

/// The program itself, by its host name.
fn as_pod(ground: &Ground, name: &str) -> ServiceBuilder {
    ground.service().environment(&[("HOSTNAME", name)]).arguments(["--namespaces", ground.namespace()])
}

async fn every_kind_of_workload_knows_itself(ground: Ground) {
    for (number, pod) in [POD, "pushroll-1", "pushroll-x2x4z"].into_iter().enumerate() {
        let image = ground.image(&format!("pushroll-{number}"));
        let make = [deployment, stateful_set, daemon_set][number];
        let own = idle(make(ground.namespace(), "pushroll", &image));
        let others = ["a", "z"].map(|name| {
            let name = format!("{name}-{number}");
            idle(deployment(ground.namespace(), &name, &image))
        });
        for workload in others.iter().chain([&own]) {
            ground.create(workload).await;
        }
        let service = as_pod(&ground, pod).start_ready().await;
        let answer = service.push(&PushMessage::now(&image, 1)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        is_last(&service, 0, &own, &others);
    }
}

/// What another is left of for now, the next delivery finishes, and this process must be there for it. What is left
/// for good does not hold it up.
async fn it_waits_for_what_others_are_left_of(ground: Ground) {
    let image = ground.image("pushroll");
    let manifest = |name: &str| idle(deployment(ground.namespace(), name, &image));
    let [own, web] = ["pushroll", "web"].map(manifest);
    let refusing = ground.another_namespace("refusing").await;
    let refused = idle(deployment(&refusing, "refused", &image));
    for workload in [&own, &web] {
        ground.create(workload).await;
    }
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let proxy = ApiProxy::start(&ground, move |request| {
        let fails = request.is_patch() && request.uri.contains("/web?") && failing.load(Ordering::SeqCst);
        async move { if fails { Passage::Refuse(500, "not now") } else { Passage::Forward } }
    });
    let both = format!("{},{refusing}", ground.namespace());
    let service = as_pod(&ground, POD).arguments(["--namespaces", &both]).through(&proxy.await).start_ready().await;
    let message = PushMessage::now(&image, 1);
    for _ in 0..2 {
        let problem = service.push(&message).await.problem(503);
        let of_own = result_of(&problem, &own);
        assert_eq!([&of_own["action"], &of_own["code"]], [&json!("failed"), &json!("others_first")], "{problem}");
        assert_eq!(result_of(&problem, &web)["code"], "api_error", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("not now"), "the cause, not its effect: {problem}");
    }
    assert_eq!((ground.generation(&own).await, ground.generation(&web).await), (1, 1));
    fails.store(false, Ordering::SeqCst);
    assert_eq!(service.push(&message).await.json()["outcome"], "restarted");
    assert_eq!((ground.generation(&own).await, ground.generation(&web).await), (2, 2));

    ground.create(&refused).await;
    ground.deny_updates(&refused, "refuse-a-sibling-of-pushroll", "not today").await;
    let answer = service.push(&PushMessage::now(&image, 2)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(result_of(&answer.json(), &refused)["code"], "denied");
    assert_eq!(result_of(&answer.json(), &own)["action"], "restarted");
    assert_eq!((ground.generation(&own).await, ground.generation(&refused).await), (3, 1));
}

/// The kubelet is quicker than the answer to the PATCH that set it going.
async fn the_push_that_ends_it_is_answered(ground: Ground) {
    let image = ground.image("pushroll");
    let own = idle(deployment(ground.namespace(), "pushroll", &image));
    let web = idle(deployment(ground.namespace(), "web", &image));
    for workload in [&own, &web] {
        ground.create(workload).await;
    }
    let (arrived, leave) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (is_here, may_leave) = (Arc::clone(&arrived), Arc::clone(&leave));
    let proxy = ApiProxy::start(&ground, move |request| {
        let is_own = request.is_patch() && request.uri.contains("/pushroll?");
        let (is_here, may_leave) = (Arc::clone(&is_here), Arc::clone(&may_leave));
        async move {
            if is_own {
                is_here.notify_one();
                may_leave.notified().await;
            }
            Passage::Forward
        }
    });
    let service = as_pod(&ground, POD).through(&proxy.await).arguments(["--hold", "60s", "--drain-timeout", "60s"]);
    let service = service.start_ready().await;
    let message = PushMessage::now(&image, 1);
    let push = async { service.push(&message).await };
    let end = async {
        arrived.notified().await;
        assert_eq!(ground.generation(&web).await, 2, "nobody is left but itself");
        service.signal("TERM");
        service.wait_for_status("it drains", |status| status["not_ready_because"] == "draining").await;
        leave.notify_one();
    };
    let (answer, ()) = tokio::join!(push, end);
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(answer.headers["connection"], "close");
    assert_eq!(service.ended().await.code(), Some(0));
    assert_eq!(ground.generation(&own).await, 2);
}
