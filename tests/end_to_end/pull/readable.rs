//! A subscription that cannot be read is named, with the reason and with what to do.

use serde_json::json;

use super::pulling;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::pubsub_server::PubSubServer;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(a_subscription_that_does_not_exist_is_named_until_it_does);
    suite.with_pubsub_emulator(a_subscription_that_does_not_exist_is_named_until_it_does);
    suite.with_pubsub(a_push_subscription_is_named);
    suite.with_pubsub(a_permission_that_is_missing_is_named_until_it_is_given);
    suite.with_pubsub(the_permission_to_pull_is_enough);
    suite.with_pubsub(a_permission_that_is_taken_is_named_and_the_service_stays_ready);
    suite.with_pubsub(a_server_that_does_not_answer_is_named);
    suite.with_pubsub(a_server_that_hangs_is_named);
    suite.with_pubsub(a_stream_that_cannot_be_opened_is_named);
    suite.with_pubsub(settings_that_cannot_be_had_hold_up_nothing);
    suite.with_pubsub(a_missing_retry_policy_is_a_warning);
}

/// It is not ready, and each place says why. Gives the sentence.
async fn not_ready_because(service: &Service, says: &str) -> String {
    let status = service
        .wait_for_status("the reason is known", |status| {
            status["subscriptions"][0]["error"].as_str().is_some_and(|error| error.contains(says))
        })
        .await;
    let shown = &status["subscriptions"][0];
    let error = shown["error"].as_str().unwrap();
    assert!(shown["error_since"].is_string() && shown["connected_since"].is_null(), "{shown}");
    let sentence = format!("{}: {error}", shown["subscription"].as_str().unwrap());
    // An index comes first.
    service.wait_for_status("it is the reason", |status| status["not_ready_because"] == *sentence).await;
    let ready = get(&format!("{}/readyz", service.internal)).await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains(&format!("[-]subscriptions failed: {sentence}\n")), "{}", ready.text());
    assert_eq!(service.metric("pushroll_unreadable_subscriptions").await, 1.0);
    service.warned(error).await;
    sentence
}

async fn works(server: &PubSubServer, service: &Service, topic: &str, ground: &Ground) {
    service.subscription_becomes("it can be read", |status| status["connected_since"].is_string()).await;
    service.wait_until_ready().await;
    let id = server.publish(topic, &PushMessage::now(&ground.image("web"), 1)).await;
    service.answered(&id, |_| true).await;
}

async fn a_subscription_that_does_not_exist_is_named_until_it_does(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.delete_subscription(&subscription).await;
    let service = pulling(&ground, &server, &subscription).start().await;
    not_ready_because(&service, "it does not exist").await;
    server.create_subscription(&subscription, &topic, json!({})).await;
    works(&server, &service, &topic, &ground).await;
}

async fn a_push_subscription_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let push = json!({"pushConfig": {"pushEndpoint": "http://127.0.0.1:1/v1/push"}});
    let subscription = server.subscription(&topic, push).await;
    let service = pulling(&ground, &server, &subscription).start().await;
    not_ready_because(&service, "it is a push subscription").await;
    // Without the permission to see its settings the stream says so.
    server.fault("GetSubscription", "PERMISSION_DENIED", "no").await;
    let service = pulling(&ground, &server, &subscription).start().await;
    not_ready_because(&service, "it is a push subscription").await;
}

async fn a_permission_that_is_missing_is_named_until_it_is_given(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.fault("*", "PERMISSION_DENIED", "User not authorized to perform this action.").await;
    let service = pulling(&ground, &server, &subscription).start().await;
    let sentence = not_ready_because(&service, "roles/pubsub.subscriber").await;
    assert!(sentence.contains("User not authorized"), "{sentence}");
    server.clear_faults().await;
    works(&server, &service, &topic, &ground).await;
}

async fn the_permission_to_pull_is_enough(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.fault("GetSubscription", "PERMISSION_DENIED", "no").await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    works(&server, &service, &topic, &ground).await;
}

async fn a_permission_that_is_taken_is_named_and_the_service_stays_ready(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    works(&server, &service, &topic, &ground).await;
    server.fault("*", "PERMISSION_DENIED", "no").await;
    server.cut("PERMISSION_DENIED").await;
    let status = service.subscription_becomes("it cannot be read", |status| status["error"].is_string()).await;
    assert!(status["error"].as_str().unwrap().contains("roles/pubsub.subscriber"), "{status}");
    let ready = get(&format!("{}/readyz?verbose", service.internal)).await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("[+]subscriptions ok: projects/"), "{}", ready.text());
    server.clear_faults().await;
    works(&server, &service, &topic, &ground).await;
}

async fn a_stream_that_cannot_be_opened_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    // The client tries this again and again by itself, and other calls succeed.
    server.fault("StreamingPull", "RESOURCE_EXHAUSTED", "quota").await;
    let service = pulling(&ground, &server, &subscription).start().await;
    service
        .subscription_becomes("it is named", |status| {
            status["error"].as_str().is_some_and(|error| error.contains("cannot be opened"))
        })
        .await;
    server.clear_faults().await;
    works(&server, &service, &topic, &ground).await;
}

async fn settings_that_cannot_be_had_hold_up_nothing(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    for code in ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "HANG"] {
        server.fault("GetSubscription", code, "no").await;
        let service = pulling(&ground, &server, &subscription).start_ready().await;
        works(&server, &service, &topic, &ground).await;
        server.clear_faults().await;
    }
}

async fn a_missing_retry_policy_is_a_warning(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let without = server.subscription(&topic, json!({})).await;
    let with = server.subscription(&topic, json!({"retryPolicy": {"minimumBackoff": "10s"}})).await;
    let service = pulling(&ground, &server, &without).start_ready().await;
    assert_eq!(service.warned("has no retry policy").await, 1);
    let service = pulling(&ground, &server, &with).start_ready().await;
    let warnings = service.log().iter().filter(|line| line.to_string().contains("retry policy")).count();
    assert_eq!(warnings, 0);
}

async fn a_server_that_does_not_answer_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.stop().await;
    let service = pulling(&ground, &server, &subscription).start().await;
    let sentence = not_ready_because(&service, "does not answer").await;
    assert!(sentence.contains(&server.address), "{sentence}");
    server.start_again().await;
    works(&server, &service, &topic, &ground).await;
}

async fn a_server_that_hangs_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.fault("*", "HANG", "").await;
    let service = pulling(&ground, &server, &subscription).start().await;
    not_ready_because(&service, "does not answer").await;
    server.clear_faults().await;
    eventually("it goes on", async || service.subscription().await["connected_since"].is_string().then_some(())).await;
    works(&server, &service, &topic, &ground).await;
}
