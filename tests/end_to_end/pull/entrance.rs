//! What is pulled takes the path of a push.

use serde_json::json;

use super::{Stage, pulling};
use crate::support::command::run;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::pubsub_server::{PubSubServer, dead_letter};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(a_pulled_push_restarts_what_runs_its_image);
    suite.with_pubsub_emulator(a_pulled_push_restarts_what_runs_its_image);
    suite.with_pubsub(pulling_goes_on_beside_pushing);
    suite.with_pubsub_emulator(pulling_goes_on_beside_pushing);
    suite.with_pubsub(several_subscriptions_are_pulled);
    suite.with_pubsub_emulator(several_subscriptions_are_pulled);
    suite.with_pubsub(the_delivery_attempt_is_in_the_answer);
    suite.plain(half_of_who_may_push_is_the_error_of_today);
}

async fn a_pulled_push_restarts_what_runs_its_image(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;

    let status = service.subscription().await;
    assert_eq!(status["subscription"], subscription, "{status}");
    assert!(status["connected_since"].is_string() && status["error"].is_null(), "{status}");
    assert_eq!((&status["held"], &status["last_message"]), (&json!(0), &serde_json::Value::Null), "{status}");
    let log = service.log();
    assert!(log.iter().any(|line| line["message"].as_str().unwrap_or_default().starts_with("no public listener")));
    assert!(log.iter().any(|line| line["message"] == "pulling" && line["subscription"] == subscription), "{log:?}");
    let listening = log.iter().find(|line| line["message"] == "listening").unwrap();
    assert!(listening["public"].is_null() && listening["internal"].is_string(), "{listening}");
    let ready = get(&format!("{}/readyz?verbose", service.internal)).await.text();
    assert!(ready.contains("[+]subscriptions ok\n") && !ready.contains("signing-keys"), "{ready}");

    let message = PushMessage::now(&image, 1);
    let id = server.publish(&topic, &message).await;
    let answer = service.answered(&id, |_| true).await;
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert_eq!((&answer["subscription"], &answer["digest"]), (&json!(subscription), &json!(message.digest)));
    assert!(answer["published"].is_string() && answer["delivery_attempt"].is_null(), "{answer}");
    assert_eq!(ground.generation(&web).await, 2);
    let status = service.subscription_becomes("nothing is held", |status| status["held"] == 0).await;
    assert!(status["last_message"].is_string() && status["oldest_held"].is_null(), "{status}");
    eventually("it is counted", async || {
        let counted = service.metric(r#"pushroll_pulled_messages_total{result="acknowledged"}"#).await;
        (counted == 1.0).then_some(())
    })
    .await;
    assert_eq!(service.metric("pushroll_unreadable_subscriptions").await, 0.0);
}

async fn pulling_goes_on_beside_pushing(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let service = pulling(&ground, &server, &subscription)
        .arguments(["--insecure-no-auth", "--listen", "127.0.0.1:0"])
        .start_ready()
        .await;
    let pushed = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!(pushed.json()["outcome"], "restarted", "{}", pushed.text());
    let id = server.publish(&topic, &PushMessage::now(&image, 2)).await;
    assert_eq!(service.answered(&id, |_| true).await["outcome"], "restarted");
    assert_eq!(ground.generation(&web).await, 3);
}

async fn several_subscriptions_are_pulled(ground: Ground, server: PubSubServer) {
    let topics = [server.topic().await, server.topic().await];
    let names = [server.subscription(&topics[0], json!({})).await, server.subscription(&topics[1], json!({})).await];
    // One of them twice: it is read once.
    let service = pulling(&ground, &server, &format!("{},{},{0}", names[0], names[1])).start_ready().await;
    let status = service.status().await;
    let shown: Vec<_> = status["subscriptions"].as_array().unwrap().iter().map(|one| &one["subscription"]).collect();
    assert_eq!(shown, names.iter().collect::<Vec<_>>(), "{status}");
    for (topic, name) in topics.iter().zip(&names) {
        let id = server.publish(topic, &PushMessage::now(&ground.image("web"), 1)).await;
        assert_eq!(service.answered(&id, |answer| answer["subscription"] == **name).await["outcome"], "not_in_use");
    }
}

async fn the_delivery_attempt_is_in_the_answer(ground: Ground, server: PubSubServer) {
    let (topic, dead) = (server.topic().await, server.topic().await);
    let subscription = server.subscription(&topic, dead_letter(&dead, 5)).await;
    let service = pulling(&ground, &server, &subscription).start_ready().await;
    let id = server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    assert_eq!(service.answered(&id, |_| true).await["delivery_attempt"], 1);
}

async fn half_of_who_may_push_is_the_error_of_today() {
    let half = [
        ["--audience", "https://pushroll.example.com/v1/push"],
        ["--service-account", "push@example.iam.gserviceaccount.com"],
    ];
    for [flag, value] in half {
        let ran = run(&["serve", "--pull", "projects/acme/subscriptions/pushroll", flag, value]).await;
        let sentence = ran.failed_with_one_sentence();
        assert!(sentence.contains("it is not known whose pushes to take"), "{sentence}");
    }
}
