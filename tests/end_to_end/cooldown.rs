//! `pushroll.dev/cooldown`: a push that comes too soon waits in the ConfigMap `pushroll-waiting`, and is done when it is
//! due, by whichever replica is there.

mod ends;
mod outlives;

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::{ApiCall, Ground};
use crate::support::http::{get, send};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{entries, push, record, replica};

pub fn tests(suite: &mut Suite) {
    ends::tests(suite);
    outlives::tests(suite);
    suite.on_both(a_push_in_the_cooldown_is_done_when_it_is_due);
    suite.on_both(of_pushes_in_the_cooldown_the_newest_is_done);
    suite.on_both(two_images_wait_for_one_restart);
    suite.on_both(a_cooldown_that_is_no_duration_is_said_and_ignored);
    suite.on_both(a_live_watch_shows_when_a_cooldown_is_over);
}

fn with_cooldown(mut workload: Value, cooldown: &str) -> Value {
    workload["metadata"]["annotations"]["pushroll.dev/cooldown"] = json!(cooldown);
    workload
}

async fn set_cooldown(ground: &Ground, workload: &Value, cooldown: Value) {
    let patch = json!({"metadata": {"annotations": {"pushroll.dev/cooldown": cooldown}}});
    ground.patch(workload, "owner", patch).await;
}

/// The pushes that wait for a workload, by their image.
async fn waiting(ground: &Ground, workload: &Value) -> BTreeMap<String, Value> {
    let is_of_it = |entry: &Value| {
        entry["kind"] == workload["kind"]
            && ["namespace", "name"].iter().all(|field| entry[field] == workload["metadata"][field])
    };
    let entries = entries(ground, "push.").await.into_iter();
    entries.filter(is_of_it).map(|entry| (entry["image"].as_str().unwrap().to_owned(), entry)).collect()
}

/// The object, once nothing waits on it any more.
async fn at_its_end(ground: &Ground, workload: &Value) -> Value {
    eventually("nothing waits any more", async || {
        let nothing_waits = waiting(ground, workload).await.is_empty();
        if nothing_waits { Some(ground.get(workload).await) } else { None }
    })
    .await
}

async fn a_push_in_the_cooldown_is_done_when_it_is_due(ground: Ground) {
    let image = ground.image("web");
    let kinds: [fn(&str, &str, &str) -> Value; 3] = [deployment, stateful_set, daemon_set];
    let workloads = kinds.map(|kind| with_cooldown(kind(ground.namespace(), "web", &image), "10s"));
    for workload in &workloads {
        ground.create(workload).await;
    }
    let service = replica(&ground).await;
    let (first, second) = (PushMessage::now(&image, 0xa1), PushMessage::now(&image, 0xa2));
    assert_eq!(service.push(&first).await.json()["outcome"], "restarted");
    let mut began = Vec::new();
    for workload in &workloads {
        began.push(restarted_at(&ground.get(workload).await));
    }
    let answer = service.push(&second).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("deferred")), "{}", answer.text());
    eventually("it is counted", async || {
        (service.metric("pushroll_waiting{why=\"cooldown\"}").await == 3.0).then_some(())
    })
    .await;
    assert_eq!(service.metric("pushroll_pushes_total{outcome=\"deferred\"}").await, 1.0);
    for (workload, began) in workloads.iter().zip(began) {
        let result = result_of(&answer.json(), workload);
        assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("cooldown")), "{result}");
        let object = at_its_end(&ground, workload).await;
        assert_eq!(record(&object)[&image]["message_id"], second.id);
        assert_eq!(object["metadata"]["generation"], 3, "{object}");
        let waited = restarted_at(&object).duration_since(began).as_secs();
        assert!(waited >= 10, "{waited}");
        assert_eq!(push(&service, &second, workload).await["code"], "already_restarted");
    }
    eventually("nothing waits", async || {
        (service.metric("pushroll_waiting{why=\"cooldown\"}").await == 0.0).then_some(())
    })
    .await;
}

fn restarted_at(object: &Value) -> Timestamp {
    let annotations = &object["spec"]["template"]["metadata"]["annotations"];
    annotations["kubectl.kubernetes.io/restartedAt"].as_str().unwrap().parse().unwrap()
}

async fn of_pushes_in_the_cooldown_the_newest_is_done(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(deployment(ground.namespace(), "web", &image), "1h");
    ground.create(&web).await;
    let service = replica(&ground).await;
    // The tag moves to another digest and back: pods that were replaced in between have pulled the other.
    let [first, second, third] = [(0xa1, 0), (0xa2, 1), (0xa1, 2)].map(|(byte, milliseconds)| {
        let now = PushMessage::now(&image, byte);
        PushMessage { published: now.published + jiff::SignedDuration::from_millis(milliseconds), ..now }
    });
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    let result = push(&service, &second, &web).await;
    assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("cooldown")), "{result}");
    let waits = waiting(&ground, &web).await;
    assert_eq!((&waits[&image]["message_id"], &waits[&image]["digest"]), (&json!(second.id), &json!(second.digest)));
    let due = waits[&image]["due"].as_str().unwrap();
    assert!(result["reason"].as_str().unwrap().contains(&format!("due at {due}")), "{result} {due}");

    // None of these writes anything.
    let dry_run = format!("{}/v1/push?dry_run=true", service.admin);
    let answer = send(Method::POST, &dry_run, &[], third.body()).await.json();
    assert_eq!((&answer["outcome"], &result_of(&answer, &web)["action"]), (&json!("dry_run"), &json!("deferred")));
    let explain = get(&format!("{}/v1/explain?image={image}", service.admin)).await.json();
    assert_eq!(result_of(&explain, &web)["code"], "cooldown", "{explain}");
    assert_eq!(push(&service, &second, &web).await["code"], "cooldown");
    assert_eq!(push(&service, &first, &web).await["code"], "already_restarted");
    assert_eq!(waiting(&ground, &web).await, waits);

    assert_eq!(push(&service, &third, &web).await["code"], "cooldown", "the digest alone makes it not current");
    let result = push(&service, &second, &web).await;
    assert!(result["reason"].as_str().unwrap().contains("a newer push"), "{result}");
    let bare = send(Method::POST, &format!("{}/v1/push", service.public), &[], third.payload().to_string()).await;
    assert_eq!(result_of(&bare.json(), &web)["code"], "cooldown", "{}", bare.text());
    assert_eq!(waiting(&ground, &web).await[&image]["message_id"], third.id);
    assert_eq!(ground.generation(&web).await, 2, "nothing is written to the workload");

    set_cooldown(&ground, &web, json!("1s")).await;
    let object = at_its_end(&ground, &web).await;
    assert_eq!(record(&object)[&image]["message_id"], third.id);
    assert_eq!(object["metadata"]["generation"], 4, "the edit, and one restart");
    for message in [&first, &second] {
        assert_eq!(push(&service, message, &web).await["code"], "newer_push_done");
    }
}

async fn two_images_wait_for_one_restart(ground: Ground) {
    let [web, side, init] = ["web", "side", "init"].map(|name| ground.image(name));
    let mut workload = with_cooldown(stateful_set(ground.namespace(), "web", &web), "1h");
    let container = |name: &str, image: &str| json!({"name": name, "image": image, "imagePullPolicy": "Always"});
    workload["spec"]["template"]["spec"]["containers"] =
        json!([container("web", &web), container("side", &side), container("init", &init)]);
    ground.create(&workload).await;
    let service = replica(&ground).await;
    let [first, of_web, of_side] = [&web, &web, &side].map(|image| PushMessage::now(image, 0xa1));
    let of_web = PushMessage { digest: crate::support::fixtures::digest(0xa2), ..of_web };
    assert_eq!(push(&service, &first, &workload).await["action"], "restarted");
    for message in [&of_web, &of_side] {
        assert_eq!(push(&service, message, &workload).await["action"], "deferred");
    }
    set_cooldown(&ground, &workload, json!(null)).await;
    let object = at_its_end(&ground, &workload).await;
    let done = record(&object);
    assert_eq!((&done[&web]["message_id"], &done[&side]["message_id"]), (&json!(of_web.id), &json!(of_side.id)));
    assert_eq!(object["metadata"]["generation"], 3);

    // A push that need not wait any more does for those that do; this service looks once an hour.
    drop(service);
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    set_cooldown(&ground, &workload, json!("1h")).await;
    let (waits, goes) = (PushMessage::now(&side, 0xb1), PushMessage::now(&init, 0xb1));
    assert_eq!(push(&service, &waits, &workload).await["action"], "deferred");
    set_cooldown(&ground, &workload, json!(null)).await;
    assert_eq!(push(&service, &goes, &workload).await["action"], "restarted");
    let object = ground.get(&workload).await;
    assert!(waiting(&ground, &workload).await.is_empty());
    let done = record(&object);
    assert_eq!((&done[&side]["message_id"], &done[&init]["message_id"]), (&json!(waits.id), &json!(goes.id)));
    assert_eq!(object["metadata"]["generation"], 4);
    assert_eq!(push(&service, &waits, &workload).await["code"], "already_restarted");
}

async fn a_cooldown_that_is_no_duration_is_said_and_ignored(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(deployment(ground.namespace(), "web", &image), "soon");
    ground.create(&web).await;
    let service = replica(&ground).await;
    for byte in [0xa1, 0xa2] {
        let result = push(&service, &PushMessage::now(&image, byte), &web).await;
        assert_eq!((&result["action"], &result["warnings"]), (&json!("restarted"), &json!(["unreadable_cooldown"])));
        assert!(result["reason"].as_str().unwrap().contains("pushroll.dev/cooldown is no duration"), "{result}");
    }
    eventually("the log says it", async || (service.warned("cooldown is no duration").await == 2).then_some(())).await;
    assert_eq!(ground.generation(&web).await, 3);
}

/// How often a service has looked.
fn looks(service: &Service) -> usize {
    let is_look = |call: &&ApiCall| call.verb == "get" && call.uri.contains("/configmaps/pushroll-waiting");
    service.api_calls().iter().filter(is_look).count()
}

/// How often a service has looked at the workload itself.
fn gets(service: &Service, workload: &Value) -> usize {
    let name = format!("/{}", workload["metadata"]["name"].as_str().unwrap());
    let calls = service.api_calls();
    calls
        .iter()
        .filter(|call| call.verb == "get" && call.uri.contains("/apis/apps/") && call.uri.ends_with(&name))
        .count()
}

/// While the cooldown lasts, a live watch makes a GET of the workload unnecessary, and shows at once that its owner has
/// made the cooldown shorter.
async fn a_live_watch_shows_when_a_cooldown_is_over(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(daemon_set(ground.namespace(), "web", &image), "1h");
    ground.create(&web).await;
    let service = ground
        .service()
        .arguments(["--watch", "--namespaces", ground.namespace(), "--deferred-poll", "50ms"])
        .start_ready()
        .await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    assert_eq!(push(&service, &second, &web).await["action"], "deferred");
    let (looked, got) = (looks(&service), gets(&service, &web));
    eventually("it has looked", async || (looks(&service) >= looked + 3).then_some(())).await;
    let status = service.status().await;
    if status["tiers"]["watch"]["live"] == true && status["tiers"]["watch"]["error"].is_null() {
        assert_eq!(gets(&service, &web), got);
    }
    set_cooldown(&ground, &web, json!("1s")).await;
    let object = at_its_end(&ground, &web).await;
    assert_eq!(
        (&record(&object)[&image]["message_id"], &object["metadata"]["generation"]),
        (&json!(second.id), &json!(3))
    );
}
