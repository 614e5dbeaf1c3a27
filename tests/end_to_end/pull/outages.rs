//! Pub/Sub goes away, cuts streams, loses acknowledgements: nothing is lost, and nothing is restarted twice.

use std::future::pending;

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Stage, pulling};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(a_server_that_comes_back_is_read_again);
    suite.with_pubsub(streams_that_are_cut_lose_nothing);
    suite.with_pubsub(an_acknowledgement_that_is_lost_is_done_already);
    suite.with_pubsub(a_slow_server_loses_nothing);
    suite.with_pubsub(a_silent_stream_is_opened_anew);
    suite.with_pubsub(a_connection_that_is_dead_without_a_sign_is_replaced);
}

async fn a_server_that_comes_back_is_read_again(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    server.stop().await;
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    let named = |status: &serde_json::Value| status["error"].as_str().is_some_and(|error| error.contains("not answer"));
    service.subscription_becomes("the outage is named", named).await;
    server.start_again().await;
    assert_eq!(service.answered(&id, |_| true).await["outcome"], "restarted");
    server.acknowledged(&subscription, &id).await;
    service.subscription_becomes("it is read", |status| status["connected_since"].is_string()).await;
    assert_eq!(ground.generation(&web).await, 2);
}

async fn streams_that_are_cut_lose_nothing(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    // As in normal life; as at a restart of the server; and by statuses after which the client gives a stream up.
    for code in ["OK", "UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN", "ABORTED"] {
        server.cut(code).await;
        let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
        service.answered(&id, |_| true).await;
        server.acknowledged(&subscription, &id).await;
    }
}

async fn an_acknowledgement_that_is_lost_is_done_already(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    server.fault("Acknowledge", "PERMISSION_DENIED", "no").await;
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    assert_eq!(service.answered(&id, |_| true).await["outcome"], "restarted");
    eventually("the acknowledgement is refused", async || (server.calls().await["Acknowledge"] != 0).then_some(()))
        .await;
    server.advance_clock(61).await;
    assert_eq!(service.answered(&id, |answer| answer["outcome"] == "current").await["outcome"], "current");
    server.clear_faults().await;
    server.advance_clock(61).await;
    server.acknowledged(&subscription, &id).await;
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_slow_server_loses_nothing(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    server.delay("*", 2000).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    assert_eq!(service.answered(&id, |_| true).await["outcome"], "restarted");
    let message = server.acknowledged(&subscription, &id).await;
    assert_eq!((&message["deliveries"], &message["acks"]), (&json!(1), &json!(1)), "{message}");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_silent_stream_is_opened_anew(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let service = pulling(&ground, &server, &subscription).arguments(["--pull-renew", "1s"]).start_ready().await;
    let streams = server.calls().await["StreamingPull"].as_u64().unwrap();
    eventually("new streams", async || {
        (server.calls().await["StreamingPull"].as_u64().unwrap() >= streams + 3).then_some(())
    })
    .await;
    let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    service.answered(&id, |_| true).await;
    server.acknowledged(&subscription, &id).await;
    eventually("the old streams are closed", async || {
        (server.calls().await["open_streams"].as_u64().unwrap() <= 1).then_some(())
    })
    .await;
    let status = service.subscription().await;
    assert!(status["connected_since"].is_string() && status["error"].is_null(), "{status}");
}

/// Forwards connections to a server, until those that are open are left for dead: their bytes go nowhere, and they are
/// never closed.
struct Forwarder {
    address: String,
    generation: watch::Sender<usize>,
}

impl Forwarder {
    async fn start(server: &PubSubServer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (generation, target) = (watch::Sender::new(0), server.address.clone());
        let generations = generation.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(mut far) = TcpStream::connect(&target).await else { continue };
                let mut generation = generations.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        // Both stay open, and nobody reads or writes them any more.
                        _ = generation.changed() => pending::<()>().await,
                    }
                });
            }
        });
        Self { address, generation }
    }

    fn leave_for_dead(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

async fn a_connection_that_is_dead_without_a_sign_is_replaced(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let forwarder = Forwarder::start(&server).await;
    let service = pulling(&ground, &server, &subscription)
        .environment(&[("PUBSUB_EMULATOR_HOST", &forwarder.address)])
        .arguments(["--pull-renew", "2s"])
        .start_ready()
        .await;
    let before = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    service.answered(&before, |_| true).await;
    server.acknowledged(&subscription, &before).await;
    forwarder.leave_for_dead();
    // The server goes on sending to the dead stream for as long as it does not notice either.
    server.cut("UNAVAILABLE").await;
    let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 2)).await;
    service.answered(&id, |_| true).await;
    server.acknowledged(&subscription, &id).await;
}
