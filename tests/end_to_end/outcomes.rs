//! The table from outcome to status (DESIGN, decision 7), and dry runs.

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{Answer, send};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(each_outcome_that_is_done_for_good_is_acknowledged);
    suite.on_embedded(a_refusal_by_admission_waits_and_is_acknowledged);
    suite.on_embedded(what_may_work_later_is_failed_and_comes_again);
    suite.on_both(a_dry_run_tells_and_does_nothing);
    suite.on_both(the_public_listener_refuses_a_dry_run);
}

/// What happened to each workload, by name.
fn actions(answer: &Value) -> Vec<(String, String)> {
    let text = |workload: &Value, key: &str| workload[key].as_str().unwrap().to_owned();
    let workloads = answer["workloads"].as_array().unwrap().iter();
    workloads.map(|workload| (text(workload, "name"), text(workload, "action"))).collect()
}

fn pairs(actions: &[(&str, &str)]) -> Vec<(String, String)> {
    actions.iter().map(|(name, action)| ((*name).to_owned(), (*action).to_owned())).collect()
}

fn opted_out(namespace: &str, name: &str, image: &str) -> Value {
    let mut workload = deployment(namespace, name, image);
    workload["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
    workload
}

async fn each_outcome_that_is_done_for_good_is_acknowledged(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let service = ground.service().arguments(["--namespaces", namespace]).start_ready().await;
    let push = async |message: &PushMessage, outcome: &str, expected: &[(&str, &str)]| {
        let answer = service.push(message).await;
        assert_eq!(answer.status, 200, "{outcome}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.json()["outcome"], outcome, "{}", answer.text());
        assert_eq!(actions(&answer.json()), pairs(expected), "{outcome}");
    };
    push(&PushMessage::now(&image, 1), "not_in_use", &[]).await;

    ground.create(&opted_out(namespace, "a-out", &image)).await;
    push(&PushMessage::now(&image, 2), "skipped", &[("a-out", "skipped")]).await;

    ground.create(&deployment(namespace, "b-web", &image)).await;
    let message = PushMessage::now(&image, 3);
    push(&message, "restarted", &[("a-out", "skipped"), ("b-web", "restarted")]).await;
    push(&message, "current", &[("a-out", "skipped"), ("b-web", "current")]).await;

    // To a service that has not seen it before, the redelivery is a reason to look again.
    ground.create(&deployment(namespace, "c-new", &image)).await;
    let another = ground.service().arguments(["--namespaces", namespace]).start_ready().await;
    let answer = another.push(&message).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert_eq!(actions(&answer), pairs(&[("a-out", "skipped"), ("b-web", "current"), ("c-new", "restarted")]));
}

async fn a_refusal_by_admission_waits_and_is_acknowledged(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "a-denied", &image)).await;
    ground.create(&deployment(namespace, "b-web", &image)).await;
    ground.embedded_kubernetes().deny(namespace, Some("a-denied"), "not on a Saturday");
    let service = ground.service().start_ready().await;

    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert_eq!(actions(&answer), pairs(&[("a-denied", "deferred"), ("b-web", "restarted")]));
    let denied = &answer["workloads"][0];
    assert_eq!(denied["code"], "denied");
    assert!(denied["reason"].as_str().unwrap().contains("not on a Saturday"), "{denied}");
}

async fn what_may_work_later_is_failed_and_comes_again(ground: Ground) {
    use embedded_kubernetes::Outage;
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;
    for (number, code) in [401, 429, 500, 503, 504].into_iter().enumerate() {
        let message = PushMessage::now(&image, u8::try_from(number).unwrap());
        ground.embedded_kubernetes().set_outage(Some(Outage::Status(code)));
        let problem = service.push(&message).await.problem(503);
        assert_eq!(
            (&problem["outcome"], &problem["code"]),
            (&json!("failed"), &json!("not_proven")),
            "{code}: {problem}"
        );
        assert_eq!(actions(&problem), pairs(&[("web", "failed")]), "{code}");
        assert_eq!(
            (&problem["image"], &problem["message_id"]),
            (&json!(image), &json!(message.id)),
            "the answer's own members"
        );

        ground.embedded_kubernetes().set_outage(None);
        assert_eq!(service.push(&message).await.json()["outcome"], "restarted", "{code}");
        assert_eq!(service.push(&message).await.json()["outcome"], "current", "{code}");
    }
    assert_eq!(ground.generation(&web).await, 6);
}

async fn push_to(address: &str, query: &str, message: &PushMessage) -> Answer {
    send(http::Method::POST, &format!("{address}/v1/push{query}"), &[], message.body()).await
}

async fn a_dry_run_tells_and_does_nothing(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let web = deployment(namespace, "web", &image);
    ground.create(&web).await;
    ground.create(&opted_out(namespace, "out", &image)).await;
    let service = ground.service().arguments(["--namespaces", namespace]).start_ready().await;
    let message = PushMessage::now(&image, 1);
    for query in ["?dry_run=true", "?dry_run", "?dry_run="] {
        let answer = push_to(&service.admin, query, &message).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.json()["outcome"], "dry_run", "{query}: {}", answer.text());
        assert_eq!(actions(&answer.json()), pairs(&[("out", "skipped"), ("web", "restarted")]), "{query}");
    }
    for query in ["?dry_run=maybe", "?dry_run=true&dry_run=false", "?dry_run=True", "?dry_run=%ff"] {
        push_to(&service.admin, query, &message).await.problem(400);
    }
    assert_eq!(ground.generation(&web).await, 1);
    assert!(service.api_calls().iter().all(|call| call.verb != "patch" || call.resource == "configmaps"));

    let answer = push_to(&service.admin, "?dry_run=false", &message).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    let answer = push_to(&service.admin, "?dry_run=true", &message).await.json();
    assert_eq!(actions(&answer), pairs(&[("out", "skipped"), ("web", "current")]));
    assert_eq!(ground.generation(&web).await, 2);
}

/// Whoever asks for a dry run at the wrong door must not get a real one.
async fn the_public_listener_refuses_a_dry_run(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;
    let message = PushMessage::now(&image, 1);
    for query in ["?dry_run=true", "?dry_run", "?token=abc&dry_run=true"] {
        let problem = push_to(&service.public, query, &message).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains("admin"), "{problem}");
    }
    assert_eq!(ground.generation(&web).await, 1);
    // Any other query is the subscription's own business.
    let answer = push_to(&service.public, "?token=abc&x=dry_run", &message).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
}
