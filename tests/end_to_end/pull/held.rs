//! A message that is not done is kept under its lease and tried again, so that an outage uses up no delivery attempt.

use embedded_kubernetes::Outage;
use serde_json::{Value, json};

use super::pulling;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::pubsub_server::{PubSubServer, dead_letter};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(an_outage_of_the_api_server_uses_up_no_attempt);
    suite.with_pubsub(what_is_held_at_the_end_is_given_back);
    suite.with_pubsub(what_is_held_for_too_long_is_given_back);
    suite.with_pubsub(what_is_done_at_the_end_is_acknowledged);
}

fn has_failed(answer: &Value) -> bool {
    answer["outcome"] == "failed"
}

async fn an_outage_of_the_api_server_uses_up_no_attempt(ground: Ground, server: PubSubServer) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let (topic, dead) = (server.topic().await, server.topic().await);
    let mut settings = dead_letter(&dead, 5);
    // Shorter than the outage.
    settings["ackDeadlineSeconds"] = json!(10);
    let subscription = server.subscription(&topic, settings).await;
    let service = pulling(&ground, &server, &subscription).arguments(["--hold", "1s"]).start_ready().await;

    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    service.answered(&id, has_failed).await;
    let held = service.subscription().await;
    assert_eq!(held["held"], 1, "{held}");
    assert!(held["oldest_held"].is_string() && held["error"].is_null(), "{held}");
    assert_eq!(service.metric("pushroll_pulled_messages_held").await, 1.0);
    assert!(service.metric("pushroll_pulled_oldest_seconds").await > 0.0);
    eventually("it is tried again and again, beyond the deadline of the subscription", async || {
        (service.metric(r#"pushroll_pushes_total{outcome="failed"}"#).await >= 5.0).then_some(())
    })
    .await;
    // One line, not one for each attempt.
    let failed = |line: &&Value| line["outcome"] == "failed";
    assert_eq!(service.log().iter().filter(failed).count(), 1, "{:?}", service.log());

    ground.embedded_kubernetes().set_outage(None);
    let answer = service.answered(&id, |answer| !has_failed(answer)).await;
    assert_eq!((&answer["outcome"], &answer["delivery_attempt"]), (&json!("restarted"), &json!(1)), "{answer}");
    let message = server.acknowledged(&subscription, &id).await;
    assert_eq!((&message["deliveries"], &message["given_back"]), (&json!(1), &json!(0)), "{message}");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn what_is_held_at_the_end_is_given_back(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).arguments(["--hold", "200ms"]).start_ready().await;
    ground.embedded_kubernetes().set_outage(Some(Outage::Hang));
    let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    service.answered(&id, has_failed).await;
    service.signal("TERM");
    assert!(service.ended().await.success());
    let message = server.message(&subscription, &id).await;
    assert_eq!((&message["acks"], &message["given_back"]), (&json!(0), &json!(1)), "{message}");

    // Another replica has it at once, not when a lease ends.
    ground.embedded_kubernetes().set_outage(None);
    let next = pulling(&ground, &server, &subscription).start_ready().await;
    assert_eq!(next.answered(&id, |_| true).await["outcome"], "not_in_use");
    server.acknowledged(&subscription, &id).await;
}

async fn what_is_held_for_too_long_is_given_back(ground: Ground, server: PubSubServer) {
    let (topic, dead) = (server.topic().await, server.topic().await);
    let subscription = server.subscription(&topic, dead_letter(&dead, 5)).await;
    let dead_subscription = server.subscription(&dead, json!({})).await;
    let short = ["--hold", "100ms", "--pull-max-lease", "500ms"];
    let service = pulling(&ground, &server, &subscription).arguments(short).start_ready().await;
    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    service.answered(&id, |answer| answer["delivery_attempt"] == 5).await;
    eventually("the fifth attempt is over", async || {
        let given_back = service.metric(r#"pushroll_pulled_messages_total{result="given_back"}"#).await;
        (given_back >= 5.0).then_some(())
    })
    .await;
    ground.embedded_kubernetes().set_outage(None);
    let reader = pulling(&ground, &server, &dead_subscription).start_ready().await;
    assert_eq!(reader.answered(&id, |_| true).await["outcome"], "not_in_use");
}

async fn what_is_done_at_the_end_is_acknowledged(ground: Ground, server: PubSubServer) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    service.answered(&id, |_| true).await;
    service.signal("TERM");
    assert!(service.ended().await.success());
    let message = server.message(&subscription, &id).await;
    assert_eq!((&message["acks"], &message["given_back"]), (&json!(1), &json!(0)), "{message}");
}
