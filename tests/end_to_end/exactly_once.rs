//! Exactly one rollout per push: however often, in whatever order and at how many replicas it arrives.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::fixtures::{PushMessage, daemon_set, deployment, digest, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting;

const RECORD: &str = "pushroll.dev/pushes";

pub fn tests(suite: &mut Suite) {
    suite.on_both(fifty_deliveries_at_two_services_are_one_rollout_each);
    suite.on_both(pushes_in_any_order_roll_when_they_bring_something_newer);
    suite.on_both(a_push_without_a_publish_time_is_warned_about);
    suite.on_both(a_spoilt_record_is_written_anew);
    suite.on_both(each_image_of_a_workload_has_a_record_of_its_own);
    suite.pulled(fifty_pulled_deliveries_at_two_services_are_one_rollout_each);
    suite.pulled(pulled_pushes_in_any_order_roll_when_they_bring_something_newer);
}

async fn fifty_deliveries_at_two_services_are_one_rollout_each(ground: Ground) {
    const DELIVERIES: usize = 50;
    let image = ground.image("web");
    let mut workloads = Vec::new();
    for namespace in
        [ground.namespace().to_owned(), ground.another_namespace("b").await, ground.another_namespace("c").await]
    {
        workloads.push(deployment(&namespace, "web", &image));
        workloads.push(stateful_set(&namespace, "web", &image));
        workloads.push(daemon_set(&namespace, "web", &image));
    }
    for workload in &workloads {
        ground.create(workload).await;
    }
    let builder = || ground.service().arguments(["--hold", "60s"]);
    let services = [builder().start_ready().await, builder().start_ready().await];

    let push = PushMessage::now(&image, 0xaa);
    let mut deliveries = JoinSet::new();
    for number in 0..DELIVERIES {
        let url = format!("{}/v1/push", services[number % services.len()].public);
        let body = push.body();
        deliveries.spawn(async move { send(http::Method::POST, &url, &[], body).await });
    }
    let answers = deliveries.join_all().await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let answers: Vec<Value> = answers.iter().map(|answer| answer.json()).collect();
    for workload in &workloads {
        let results: Vec<Value> = answers.iter().map(|answer| result_of(answer, workload)).collect();
        let restarted = results.iter().filter(|result| result["action"] == "restarted").count();
        let current = results.iter().filter(|result| result["code"] == "already_restarted").count();
        assert_eq!((restarted, current), (1, DELIVERIES - 1), "{results:?}");
        assert_eq!(ground.generation(workload).await, 2, "{workload}");
    }
    for answer in &answers {
        let any = answer["workloads"].as_array().unwrap().iter().any(|result| result["action"] == "restarted");
        assert_eq!(answer["outcome"], if any { "restarted" } else { "current" }, "{answer}");
    }
}

async fn fifty_pulled_deliveries_at_two_services_are_one_rollout_each(ground: Ground) {
    fifty_deliveries_at_two_services_are_one_rollout_each(ground).await;
}

async fn pulled_pushes_in_any_order_roll_when_they_bring_something_newer(ground: Ground) {
    pushes_in_any_order_roll_when_they_bring_something_newer(ground).await;
}

/// Message ids are decimal numbers without leading zeros: "10" comes after "9".
async fn pushes_in_any_order_roll_when_they_bring_something_newer(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 0xa0);
    let workloads = [
        kubelet.deployment("deployment", &image, 1),
        kubelet.stateful_set("stateful-set", &image, 1),
        kubelet.daemon_set("daemon-set", &image),
    ];
    for workload in &workloads {
        ground.create(workload).await;
        kubelet.rolled_out(workload).await;
    }
    // None of these is late.
    let service = ground.service().arguments(["--hold", "60s", "--clock-margin", "1h"]).start_ready().await;
    let begin = Timestamp::now() - SignedDuration::from_mins(1);
    let steps = [
        ("the first", 100, "9", 0xa1, "runs_image"),
        ("delivered again", 100, "9", 0xa1, "already_restarted"),
        ("the same time, a greater id", 100, "10", 0xa2, "runs_image"),
        ("the same time, the smaller id", 100, "9", 0xa1, "newer_push_done"),
        ("newer", 300, "5", 0xa3, "runs_image"),
        ("older", 200, "99", 0xa4, "newer_push_done"),
        ("older, with the digest that runs", 200, "98", 0xa3, "newer_push_done"),
        ("the digest that runs, published later", 400, "6", 0xa3, "same_digest"),
        ("that again", 400, "6", 0xa3, "same_digest"),
        ("another digest", 500, "7", 0xa4, "runs_image"),
        ("back to the one before", 600, "8", 0xa3, "runs_image"),
        ("that delivered again", 600, "8", 0xa3, "already_restarted"),
        ("the one in between delivered again", 500, "7", 0xa4, "newer_push_done"),
    ];
    let (mut generation, mut patches) = (1, 0);
    for (what, milliseconds, id, byte, code) in steps {
        let published = begin + SignedDuration::from_millis(milliseconds);
        let push = PushMessage { image: image.clone(), digest: digest(byte), id: id.to_owned(), published };
        let rolls = code == "runs_image";
        if rolls {
            kubelet.push(&image, byte);
        }
        let answer = service.push(&push).await;
        let outcome = if rolls { "restarted" } else { "current" };
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!(outcome)),
            "{what}: {}",
            answer.text()
        );
        generation += i64::from(rolls);
        for workload in &workloads {
            let result = result_of(&answer.json(), workload);
            assert_eq!((&result["action"], &result["code"]), (&json!(outcome), &json!(code)), "{what}: {result}");
            assert_eq!(ground.generation(workload).await, generation, "{what}: {result}");
            kubelet.rolled_out(workload).await;
        }
        let patched = service.patches().len();
        assert_eq!(patched > patches, rolls, "{what}: nothing is written where nothing is to be done");
        patches = patched;
    }
}

/// Unwrapped without metadata: the payload alone.
async fn a_push_without_a_publish_time_is_warned_about(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    let web = kubelet.deployment("web", &image, 1);
    kubelet.push(&image, 0xa1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let repository = image.rsplit_once(':').unwrap().0;
    let with_digest =
        |byte| json!({"action": "INSERT", "tag": image, "digest": format!("{repository}@{}", digest(byte))});
    let without_digest = json!({"action": "INSERT", "tag": image});
    // Only the pods can tell a redelivery then.
    let steps = [
        (with_digest(0xa1), "runs_image", 2),
        (with_digest(0xa1), "same_digest", 2),
        (with_digest(0xa2), "runs_image", 3),
        (without_digest.clone(), "runs_image", 4),
        (without_digest, "runs_image", 5),
    ];
    for (payload, code, generation) in steps {
        let answer = service.deliver(&[("content-type", "application/json")], payload.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(result_of(&answer, &web)["code"], code, "{payload}: {answer}");
        assert_eq!(ground.generation(&web).await, generation, "{payload}: {answer}");
        kubelet.rolled_out(&web).await;
        let warning = answer["warnings"][0].as_str().unwrap();
        assert!(warning.contains("no publish time") && warning.contains("redelivery"), "{warning}");
        assert_eq!((&answer["published"], &answer["message_id"]), (&json!(null), &json!(null)), "{answer}");
    }
}

async fn a_spoilt_record_is_written_anew(ground: Ground) {
    let image = ground.image("web");
    let spoilt = ["", "{", "[]", "null", "\"text\"", r#"{"x": 1}"#, r#"{"x": {"published": "yesterday"}}"#];
    let of = |number: usize| deployment(ground.namespace(), &format!("web-{number}"), &image);
    for (number, record) in spoilt.iter().enumerate() {
        let mut workload = of(number);
        workload["spec"]["template"]["metadata"]["annotations"] = json!({RECORD: record});
        ground.create(&workload).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    for (number, spoilt) in spoilt.iter().enumerate() {
        let result = result_of(&answer.json(), &of(number));
        assert_eq!(result["action"], "restarted", "{spoilt}: {result}");
        assert_eq!(result["warnings"], json!(["unreadable_record"]), "{spoilt}: {result}");
        assert!(result["reason"].as_str().unwrap().contains("pushroll.dev/pushes could not be read"), "{result}");
        assert_eq!(record(&ground, &of(number)).await[&image]["digest"], push.digest);
    }
    let again = service.push(&push).await.json();
    assert_eq!(again["outcome"], "current", "{again}");
}

async fn record(ground: &Ground, workload: &Value) -> Value {
    waiting::record(&ground.get(workload).await)
}

async fn each_image_of_a_workload_has_a_record_of_its_own(ground: Ground) {
    let [web, side, init, next] = ["web", "side", "init", "next"].map(|name| ground.image(name));
    let mut workload = deployment(ground.namespace(), "web", &web);
    let container = |name: &str, image: &str| json!({"name": name, "image": image, "imagePullPolicy": "Always"});
    workload["spec"]["template"]["spec"]["containers"] = json!([container("web", &web), container("side", &side)]);
    workload["spec"]["template"]["spec"]["initContainers"] = json!([container("init", &init)]);
    ground.create(&workload).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let pushes = [&web, &side, &init].map(|image| PushMessage::now(image, 0xaa));
    for (push, generation) in pushes.iter().zip(2..) {
        assert_eq!(service.push(push).await.json()["outcome"], "restarted");
        assert_eq!(ground.generation(&workload).await, generation);
    }
    // One image's push has not made the others forget theirs.
    for push in &pushes {
        let answer = service.push(push).await.json();
        assert_eq!(result_of(&answer, &workload)["code"], "already_restarted", "{answer}");
    }
    let recorded = record(&ground, &workload).await;
    assert_eq!(recorded.as_object().unwrap().keys().collect::<Vec<_>>(), sorted([&web, &side, &init]));

    // An edit by someone else: the record of the images that stay is kept.
    let edited = Timestamp::now() + SignedDuration::from_secs(1);
    eventually("a second has passed", async || (Timestamp::now() > edited).then_some(())).await;
    let containers = json!([container("web", &web), container("side", &next)]);
    ground.patch(&workload, "someone", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
    assert_eq!(service.push(&PushMessage::now(&web, 0xab)).await.json()["outcome"], "restarted");
    let recorded = record(&ground, &workload).await;
    let images: Vec<_> = recorded.as_object().unwrap().keys().collect();
    assert_eq!(images, sorted([&web, &init]), "what it runs no more is forgotten");
    assert_eq!((&recorded[&web]["digest"], &recorded[&init]["digest"]), (&json!(digest(0xab)), &json!(digest(0xaa))));
    let answer = service.push(&pushes[2]).await.json();
    assert_eq!(result_of(&answer, &workload)["code"], "already_restarted", "{answer}");
    let answer = service.push(&PushMessage::now(&init, 0xaa)).await.json();
    assert_eq!(result_of(&answer, &workload)["code"], "runs_image", "{answer}");
}

fn sorted<const N: usize>(mut keys: [&String; N]) -> Vec<&String> {
    keys.sort_unstable();
    keys.to_vec()
}
