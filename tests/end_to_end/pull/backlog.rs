//! A backlog is worked off with a bounded number of messages at once, and is few restarts.

use serde_json::{Value, json};

use super::pulling;
use crate::support::fixtures::{PushMessage, deployment, without_pods};
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(ten_thousand_messages_are_worked_off);
}

const MESSAGES: usize = 10_000;
const IMAGES: usize = 50;
const AT_ONCE: usize = 500;

async fn ten_thousand_messages_are_worked_off(ground: Ground, server: PubSubServer) {
    let images: Vec<String> = (0..IMAGES).map(|number| ground.image(&format!("image-{number}"))).collect();
    let mut workloads = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let workload = without_pods(deployment(ground.namespace(), &format!("w{number}"), image));
        ground.create(&workload).await;
        workloads.push(workload);
    }
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let pushes: Vec<PushMessage> =
        (0..MESSAGES).map(|number| PushMessage::now(&images[number % IMAGES], (number / IMAGES) as u8)).collect();
    server.publish_all(&topic, &pushes).await;

    let service = pulling(&ground, &server, &subscription)
        .arguments(["--watch", "--pull-max-messages", &AT_ONCE.to_string()])
        .start_ready()
        .await;
    let mut acknowledged = 0;
    while acknowledged < MESSAGES {
        let status = service
            .wait_for_status("more messages are acknowledged", |status| {
                status["subscriptions"][0]["held"].as_u64().is_some_and(|held| held <= AT_ONCE as u64)
            })
            .await;
        assert!(status["subscriptions"][0]["held"].as_u64().unwrap() <= AT_ONCE as u64, "{status}");
        let before = acknowledged;
        acknowledged = crate::support::wait::eventually("more messages are acknowledged", async || {
            let acknowledged = acknowledged_of(&server.messages_of(&subscription).await);
            (acknowledged > before).then_some(acknowledged)
        })
        .await;
    }
    let calls = server.calls().await;
    // The server counts a message until its acknowledgement has arrived.
    assert!(calls["max_unacknowledged"].as_u64().unwrap() <= AT_ONCE as u64, "{calls}");
    // Each batch of messages is one restart of a workload or two.
    let most = 2 * i64::try_from(MESSAGES / AT_ONCE).unwrap() + 2;
    let mut restarts = 0;
    for workload in &workloads {
        let restarted = ground.generation(workload).await - 1;
        assert!((1..=most).contains(&restarted), "{restarted} restarts");
        restarts += restarted;
    }
    let patches = service.patches().len();
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{MESSAGES} messages: {restarts} restarts, {patches} PATCHes, {peak}, {calls}");
}

fn acknowledged_of(messages: &[Value]) -> usize {
    messages.iter().filter(|message| message["acks"] != 0).count()
}
