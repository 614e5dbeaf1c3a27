//! Messages that are no pushes, and pushes that cannot be done, hold up no others.

use embedded_kubernetes::Outage;
use serde_json::json;

use super::pulling;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::pubsub_server::{PubSubServer, dead_letter};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(a_message_that_is_no_event_is_acknowledged_with_a_reason);
    suite.with_pubsub(under_poison_nack_junk_goes_to_the_dead_letter);
    suite.with_pubsub(a_push_that_cannot_be_done_holds_up_no_other);
}

/// No event of a registry, for the reason that its code says.
const JUNK: [(&[u8], &str); 5] = [
    (b"", "empty"),
    (b"hello", "not_json"),
    (b"\xff\xfe", "not_json"),
    (br#"{"kind":"storage#object"}"#, "not_a_registry_event"),
    (br#"{"action":"INSERT","tag":"a b"}"#, "invalid_reference"),
];

async fn a_message_that_is_no_event_is_acknowledged_with_a_reason(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    for (data, code) in JUNK.into_iter().filter(|(data, _)| !data.is_empty()) {
        let id = server.publish_raw(&topic, data).await;
        let answer = service.answered(&id, |_| true).await;
        assert_eq!((&answer["outcome"], &answer["code"]), (&json!("ignored"), &json!(code)), "{answer}");
        assert!(answer["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{answer}");
        server.acknowledged(&subscription, &id).await;
    }
}

async fn under_poison_nack_junk_goes_to_the_dead_letter(ground: Ground, server: PubSubServer) {
    let (topic, dead) = (server.topic().await, server.topic().await);
    let subscription = server.subscription(&topic, dead_letter(&dead, 5)).await;
    let dead_subscription = server.subscription(&dead, json!({})).await;
    let service = pulling(&ground, &server, &subscription).arguments(["--poison", "nack"]).start_ready().await;
    let junk = server.publish_raw(&topic, "junk").await;
    let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    service.answered(&id, |_| true).await;
    // The dead letter keeps the id.
    let reader = pulling(&ground, &server, &dead_subscription).start_ready().await;
    assert_eq!(reader.answered(&junk, |_| true).await["code"], "not_json");
    server.acknowledged(&subscription, &id).await;
}

async fn a_push_that_cannot_be_done_holds_up_no_other(ground: Ground, server: PubSubServer) {
    let (stuck, fine) = (ground.image("stuck"), ground.image("fine"));
    let web = deployment(ground.namespace(), "web", &fine);
    ground.create(&deployment(ground.namespace(), "stuck", &stuck)).await;
    ground.create(&web).await;
    let proxy = ApiProxy::start(&ground, async |request| {
        let is_stuck = request.is_patch() && request.uri.contains("/stuck");
        if is_stuck { Passage::Refuse(500, "not now") } else { Passage::Forward }
    })
    .await;
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).through(&proxy).start_ready().await;
    let poison: Vec<_> = (1..20).map(|byte| PushMessage::now(&stuck, byte)).collect();
    let held = server.publish_all(&topic, &poison).await;
    service.answered(&held[0], |answer| answer["outcome"] == "failed").await;
    let id = server.publish(&topic, &PushMessage::now(&fine, 1)).await;
    assert_eq!(service.answered(&id, |_| true).await["outcome"], "restarted");
    server.acknowledged(&subscription, &id).await;
    assert_eq!(ground.generation(&web).await, 2);
    let status = service.subscription().await;
    assert_eq!(status["held"], held.len(), "{status}");
    // At the end the rest is given back at once.
    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    service.signal("TERM");
    assert!(service.ended().await.success());
    for id in held {
        assert_eq!(server.message(&subscription, &id).await["given_back"], 1);
    }
}
