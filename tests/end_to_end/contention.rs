//! Between the look and the write: someone else edits, an answer is lost, the service dies.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment, result_of, without_pods};
use crate::support::ground::Ground;
use crate::support::http::{Answer, try_send};
use crate::support::proxy::{ApiProxy, ApiRequest, Passage, once};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(an_edit_between_look_and_write_is_looked_at_again);
    suite.on_both(a_delete_between_look_and_write_is_gone);
    suite.on_both(what_changes_at_every_attempt_is_left_to_the_next_delivery);
    suite.on_both(a_write_whose_answer_is_lost_is_not_done_again);
    suite.on_both(a_write_whose_answer_never_comes_holds_up_nobody_else);
    suite.on_both(a_service_killed_between_write_and_answer_leaves_one_rollout);
}

/// A service whose first PATCH arrives after `edit` was made.
async fn proxy_that_edits_first(ground: &Ground, workload: &Value, edit: Value) -> ApiProxy {
    let (first, hands, workload) = (once(), ground.clone(), workload.clone());
    let rule = move |request: ApiRequest| {
        let (first, hands, workload, edit) = (first.clone(), hands.clone(), workload.clone(), edit.clone());
        async move {
            if request.is_patch() && first() {
                hands.patch(&workload, "someone", edit).await;
            }
            Passage::Forward
        }
    };
    ApiProxy::start(ground, rule).await
}

async fn an_edit_between_look_and_write_is_looked_at_again(ground: Ground) {
    let containers = |image: &str| json!([{"name": "main", "image": image, "imagePullPolicy": "Always"}]);
    let template = |change: Value| json!({"spec": {"template": change}});
    let cases = [
        ("scaled", json!({"spec": {"replicas": 3}}), "runs_image"),
        ("labelled", json!({"metadata": {"labels": {"tier": "front"}}}), "runs_image"),
        ("annotated-pods", template(json!({"metadata": {"annotations": {"someone": "was here"}}})), "runs_image"),
        ("paused", json!({"spec": {"paused": true}}), "runs_image"),
        ("opted-out", json!({"metadata": {"annotations": {"pushroll.dev/restart": "false"}}}), "opted_out"),
        (
            "another-image",
            template(json!({"spec": {"containers": containers("registry.example/other:1")}})),
            "image_changed",
        ),
    ];
    for (name, edit, code) in cases {
        let image = ground.image(name);
        let with_a_pod = deployment(ground.namespace(), name, &image);
        // A pod that runs the image, if there were one by now, would hold up this push.
        let workload = if code == "image_changed" { without_pods(with_a_pod) } else { with_a_pod };
        ground.create(&workload).await;
        let proxy = proxy_that_edits_first(&ground, &workload, edit.clone()).await;
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let result = result_of(&answer.json(), &workload);
        assert_eq!(result["code"], code, "{name}: {result}");

        let after = ground.get(&workload).await;
        assert_contains(&after, &edit);
        let rolled = !after["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"].is_null();
        assert_eq!(rolled, code == "runs_image", "{name}: {after}");
        // A Deployment's generation counts changes of its own annotations, too.
        let edit_counts = edit.get("spec").is_some() || !edit["metadata"]["annotations"].is_null();
        let expected = 1 + i64::from(edit_counts) + i64::from(rolled);
        assert_eq!(after["metadata"]["generation"], expected, "{name}: the edit and the restart are one each");
        let warned = result["warnings"] == json!(["paused"]);
        assert_eq!(warned, name == "paused", "the answer is about what was restarted: {result}");

        let calls = service.api_calls().into_iter().filter(|call| call.name.as_deref() == Some(name));
        let verbs: Vec<_> = calls.map(|call| call.verb).collect();
        assert_eq!(verbs[..3], ["get", "patch", "get"], "{name}");
        assert_eq!(verbs.len() > 3, rolled, "{name}: {verbs:?}");
    }
}

/// Everything in `part` is in `whole` as well, as after a merge patch.
fn assert_contains(whole: &Value, part: &Value) {
    let mut merged = whole.clone();
    merge(&mut merged, part);
    assert_eq!(&merged, whole, "the edit of someone else stays");
}

fn merge(into: &mut Value, part: &Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        // The API server fills in defaults.
        (Value::Array(into), Value::Array(part)) if into.len() == part.len() => {
            into.iter_mut().zip(part).for_each(|(into, part)| merge(into, part));
        }
        (into, part) => *into = part.clone(),
    }
}

async fn a_delete_between_look_and_write_is_gone(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let (hands, deleted) = (ground.clone(), web.clone());
    let proxy = ApiProxy::start(&ground, move |request| {
        let (hands, deleted) = (hands.clone(), deleted.clone());
        async move {
            if request.is_patch() {
                hands.delete(&deleted).await;
            }
            Passage::Forward
        }
    });
    let proxy = proxy.await;
    let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
    let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("skipped")), "{}", answer.text());
    assert_eq!(result_of(&answer.json(), &web)["code"], "gone");
}

async fn what_changes_at_every_attempt_is_left_to_the_next_delivery(ground: Ground) {
    let image = ground.image("busy");
    let of = |name| deployment(ground.namespace(), name, &image);
    for name in ["busy", "quiet"] {
        ground.create(&of(name)).await;
    }
    let (hands, busy) = (ground.clone(), of("busy"));
    let proxy = ApiProxy::start(&ground, move |request| {
        let (hands, busy) = (hands.clone(), busy.clone());
        async move {
            if request.is_patch() && request.uri.contains("/busy?") {
                let attempt = hands.get(&busy).await["metadata"]["resourceVersion"].clone();
                hands.patch(&busy, "someone", json!({"metadata": {"annotations": {"attempt": attempt}}})).await;
            }
            Passage::Forward
        }
    });
    let proxy = proxy.await;
    let push = PushMessage::now(&image, 0xaa);
    {
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        let answer = service.push(&push).await;
        assert_is_left(&answer, &of("busy"), "contended", "it changed at every attempt");
        assert_eq!(result_of(&answer.json(), &of("quiet"))["action"], "restarted");
        let attempts = service.patches().iter().filter(|name| *name == "busy").count();
        assert!((2..=20).contains(&attempts), "an end to it: {attempts}");
        let template = ground.get(&of("busy")).await["spec"]["template"].clone();
        assert_eq!(template["metadata"]["annotations"], json!(null), "nothing is forced");
    }
    // The next delivery, when it is quiet again.
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let answer = service.push(&push).await.json();
    assert_eq!(result_of(&answer, &of("busy"))["action"], "restarted");
    assert_eq!(result_of(&answer, &of("quiet"))["code"], "already_restarted");
}

fn assert_is_left(answer: &Answer, workload: &Value, code: &str, sentence: &str) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json()["outcome"], "failed", "{}", answer.text());
    let result = result_of(&answer.json(), workload);
    assert_eq!((&result["action"], &result["code"]), (&json!("failed"), &json!(code)), "{result}");
    assert!(result["reason"].as_str().unwrap().contains(sentence), "{result}");
}

/// Each PATCH of `lost` fares so, every other request as always.
async fn proxy_for_patches(ground: &Ground, passage: Passage) -> ApiProxy {
    let rule = move |request: ApiRequest| {
        let interferes = request.is_patch() && request.uri.contains("/lost?");
        async move { if interferes { passage } else { Passage::Forward } }
    };
    ApiProxy::start(ground, rule).await
}

async fn a_write_whose_answer_is_lost_is_not_done_again(ground: Ground) {
    loses_an_answer(ground, Passage::LoseAnswer, "cannot be reached").await;
}

async fn a_write_whose_answer_never_comes_holds_up_nobody_else(ground: Ground) {
    loses_an_answer(ground, Passage::WithholdAnswer, "did not answer within").await;
}

async fn loses_an_answer(ground: Ground, passage: Passage, sentence: &str) {
    let image = ground.image("web");
    let of = |name| deployment(ground.namespace(), name, &image);
    for name in ["lost", "other"] {
        ground.create(&of(name)).await;
    }
    let proxy = proxy_for_patches(&ground, passage).await;
    let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let answer = service.push(&push).await;
    assert_is_left(&answer, &of("lost"), "unreachable", sentence);
    assert_eq!(result_of(&answer.json(), &of("other"))["action"], "restarted");
    assert_eq!(ground.generation(&of("lost")).await, 2, "the API server did what it was asked");

    let redelivery = service.push(&push).await;
    assert_eq!(
        (redelivery.status.as_u16(), &redelivery.json()["outcome"]),
        (200, &json!("current")),
        "{}",
        redelivery.text()
    );
    for name in ["lost", "other"] {
        assert_eq!(result_of(&redelivery.json(), &of(name))["code"], "already_restarted");
        assert_eq!(ground.generation(&of(name)).await, 2);
    }
}

async fn a_service_killed_between_write_and_answer_leaves_one_rollout(ground: Ground) {
    let image = ground.image("web");
    let lost = deployment(ground.namespace(), "lost", &image);
    ground.create(&lost).await;
    let proxy = proxy_for_patches(&ground, Passage::WithholdAnswer).await;
    let push = PushMessage::now(&image, 0xaa);
    {
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        let url = format!("{}/v1/push", service.public);
        let body = push.body();
        let delivery = tokio::spawn(async move { try_send(http::Method::POST, &url, &[], body).await });
        eventually("the restart is written", async || (ground.generation(&lost).await == 2).then_some(())).await;
        service.signal("KILL");
        assert!(delivery.await.unwrap().is_err(), "no answer, so Pub/Sub delivers again");
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("current")), "{}", answer.text());
    assert_eq!(ground.generation(&lost).await, 2);
}
