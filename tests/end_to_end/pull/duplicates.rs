//! One message at several replicas: it is one restart.

use serde_json::json;

use super::{Stage, pulling};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(two_replicas_with_one_message_at_once_restart_once);
    suite.with_pubsub(what_a_dead_replica_held_comes_to_another);
}

async fn two_replicas_with_one_message_at_once_restart_once(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let other = server.subscription(&topic, json!({})).await;
    // Each of the two subscriptions delivers each message, with the same id and the same publish time.
    let first = pulling(&ground, &server, &subscription).start_ready().await;
    let second = pulling(&ground, &server, &other).start_ready().await;
    for generation in 2..7 {
        let message = PushMessage::now(&image, generation);
        let id = server.publish(&topic, &message).await;
        let outcomes = [&first, &second].map(|service| service.answered(&id, |_| true));
        let [one, two] = outcomes;
        let mut outcomes = [one.await["outcome"].clone(), two.await["outcome"].clone()];
        outcomes.sort_by_key(ToString::to_string);
        assert_eq!(outcomes, [json!("current"), json!("restarted")]);
        server.acknowledged(&subscription, &id).await;
        server.acknowledged(&other, &id).await;
        assert_eq!(ground.generation(&web).await, i64::from(generation));
    }
}

async fn what_a_dead_replica_held_comes_to_another(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let first = pulling(&ground, &server, &subscription).arguments(["--hold", "200ms"]).start_ready().await;
    ground.embedded_kubernetes().set_outage(Some(embedded_kubernetes::Outage::Status(503)));
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    first.answered(&id, |answer| answer["outcome"] == "failed").await;
    first.signal("KILL");
    first.ended().await;
    ground.embedded_kubernetes().set_outage(None);
    let second = pulling(&ground, &server, &subscription).start_ready().await;
    // The lease of the dead replica ends by then, whatever the deadline of the subscription is.
    server.advance_clock(31).await;
    assert_eq!(second.answered(&id, |_| true).await["outcome"], "restarted");
    server.acknowledged(&subscription, &id).await;
    assert_eq!(ground.generation(&web).await, 2);
}
