//! The Pub/Sub server of the tests does what it says. What needs a client of gRPC is shown by the tests of pulling.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::{Answer, get, send, try_send};
use crate::support::pubsub_server::{PubSubServer, dead_letter};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(published_messages_and_settings_are_seen);
    suite.with_pubsub_emulator(published_messages_and_settings_are_seen);
    suite.with_pubsub(what_was_published_is_recorded);
    suite.with_pubsub(a_stopped_server_refuses_connections_and_keeps_its_state);
    suite.with_pubsub(faults_and_tokens_meet_rest_too);
}

async fn settings(server: &PubSubServer, subscription: &str) -> Answer {
    get(&format!("http://{}/v1/{subscription}", server.address)).await
}

async fn published_messages_and_settings_are_seen(_: Ground, server: PubSubServer) {
    let (topic, dead) = (server.topic().await, server.topic().await);
    let mut with = dead_letter(&dead, 7);
    with["ackDeadlineSeconds"] = json!(20);
    let subscription = server.subscription(&topic, with).await;

    let read = settings(&server, &subscription).await.json();
    assert_eq!(read["ackDeadlineSeconds"], 20, "{read}");
    assert_eq!(read["deadLetterPolicy"], json!({"deadLetterTopic": dead, "maxDeliveryAttempts": 7}), "{read}");

    let pushes = ["one", "two"].map(|name| PushMessage::now(&format!("registry.example/{name}:1"), 1));
    let first = server.publish(&topic, &pushes[0]).await;
    let others = server.publish_all(&topic, &pushes).await;
    let raw = server.publish_raw(&topic, "no event").await;
    assert_eq!(others.len(), 2);
    assert!(!others.contains(&first) && !others.contains(&raw) && first != raw, "{first} {others:?} {raw}");

    server.delete_subscription(&subscription).await;
    let missing = settings(&server, &subscription).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.json()["error"]["status"], "NOT_FOUND");
}

async fn what_was_published_is_recorded(_: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let push = PushMessage::now("registry.example/app:1", 1);
    let id = server.publish(&topic, &push).await;

    let messages = server.messages().await;
    assert_eq!(messages, server.messages_of(&subscription).await);
    assert_eq!(messages.len(), 1, "{messages:?}");
    let message = &messages[0];
    assert_eq!((message["id"].as_str(), message["topic"].as_str()), (Some(id.as_str()), Some(topic.as_str())));
    assert_eq!(message["data"], STANDARD.encode(push.payload().to_string()));
    assert_eq!((&message["deliveries"], &message["acks"], &message["modacks"]), (&json!(0), &json!(0), &json!([])));

    server.clear_messages().await;
    assert_eq!(server.messages().await, Vec::<Value>::new());
}

async fn a_stopped_server_refuses_connections_and_keeps_its_state(_: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let before = server.publish_raw(&topic, "before").await;

    server.stop().await;
    let url = format!("http://{}/v1/{subscription}", server.address);
    assert!(try_send(Method::GET, &url, &[], "").await.is_err());

    server.start_again().await;
    assert_eq!(settings(&server, &subscription).await.status, StatusCode::OK);
    server.advance_clock(11).await;
    server.cut("UNAVAILABLE").await;
    assert_eq!(server.messages().await[0]["id"], before);
}

async fn faults_and_tokens_meet_rest_too(_: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;

    server.fault("GetSubscription", "PERMISSION_DENIED", "not for you").await;
    let refused = settings(&server, &subscription).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let error = json!({"error": {"code": 403, "message": "not for you", "status": "PERMISSION_DENIED"}});
    assert_eq!(refused.json(), error);

    server.fault("*", "HANG", "").await;
    server.clear_faults().await;
    server.delay("GetSubscription", 1).await;
    assert_eq!(settings(&server, &subscription).await.status, StatusCode::OK);

    server.require_token("abc").await;
    assert_eq!(settings(&server, &subscription).await.status, StatusCode::UNAUTHORIZED);
    let url = format!("http://{}/v1/{subscription}", server.address);
    let answer = send(Method::GET, &url, &[("authorization", "Bearer abc")], "").await;
    assert_eq!(answer.status, StatusCode::OK);

    let calls = server.calls().await;
    assert_eq!((&calls["GetSubscription"], &calls["open_streams"]), (&json!(4), &json!(0)), "{calls}");
    assert_eq!(calls["authorization"], "Bearer abc");
}
