//! `pushroll restart --from`: what a dead-letter subscription names is restarted, and acknowledged.

use serde_json::json;

use super::Stage;
use crate::support::command::{Ran, run_with};
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(what_a_dead_letter_subscription_names_is_restarted_once);
    suite.with_pubsub_emulator(what_a_dead_letter_subscription_names_is_restarted_once);
    suite.with_pubsub(a_dry_run_prints_and_gives_back);
    suite.with_pubsub(what_cannot_be_done_stays);
    suite.with_pubsub(a_workload_of_several_images_is_restarted_once);
    suite.with_pubsub(a_subscription_that_cannot_be_read_is_one_sentence);
}

async fn from(ground: &Ground, server: &PubSubServer, subscription: &str, arguments: &[&str]) -> Ran {
    let kubeconfig = ground.kubeconfig(&ground.fresh_user());
    let mut all = vec!["restart", "--from", subscription, "--kubeconfig", kubeconfig.to_str().unwrap()];
    all.extend(["-n", ground.namespace(), "--namespaces", ground.namespace()]);
    all.extend(arguments);
    run_with(&all, &[("PUBSUB_EMULATOR_HOST", &server.address)], "").await
}

fn left(ran: &Ran) -> Vec<String> {
    let left = ran.json()["left"].as_array().unwrap().clone();
    left.iter().map(|left| left["reason"].as_str().unwrap().to_owned()).collect()
}

async fn what_a_dead_letter_subscription_names_is_restarted_once(ground: Ground, server: PubSubServer) {
    // Two spellings of one image.
    let (image, spelling) = ("gcr.io/acme/web:1", "us-docker.pkg.dev/acme/gcr.io/web:1");
    let other = ground.image("nobody-runs-it");
    let web = deployment(ground.namespace(), "web", image);
    ground.create(&web).await;
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let pushes = [PushMessage::now(image, 1), PushMessage::now(&other, 2), PushMessage::now(spelling, 3)];
    server.publish_all(&topic, &pushes).await;
    server.publish_raw(&topic, json!({"action": "DELETE", "tag": image}).to_string()).await;

    let ran = from(&ground, &server, &subscription, &["-o", "json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let printed = ran.json();
    assert_eq!((&printed["acknowledged"], &printed["left"]), (&json!(4), &json!([])), "{printed}");
    let images = printed["images"].as_array().unwrap().iter();
    let mut outcomes: Vec<_> = images.map(|answer| answer["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["not_in_use", "restarted"], "{printed}");
    assert_eq!(ground.generation(&web).await, 2);

    // The subscription is empty now.
    let ran = from(&ground, &server, &subscription, &[]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains("0 messages"), "{ran:?}");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_dry_run_prints_and_gives_back(ground: Ground, server: PubSubServer) {
    let Stage { image, web, topic, subscription } = Stage::set(&ground, &server).await;
    let id = server.publish(&topic, &PushMessage::now(&image, 1)).await;
    let ran = from(&ground, &server, &subscription, &["--dry-run", "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, &*format!("{}/deployment/web\n", ground.namespace())), "{ran:?}");
    let message = server.message(&subscription, &id).await;
    assert_eq!((&message["acks"], &message["given_back"]), (&json!(0), &json!(1)), "{message}");
    assert_eq!(ground.generation(&web).await, 1);

    let ran = from(&ground, &server, &subscription, &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("restarted"), "{ran:?}");
    assert_eq!(server.message(&subscription, &id).await["acks"], 1);
}

async fn what_cannot_be_done_stays(ground: Ground, server: PubSubServer) {
    let (image, refused) = (ground.image("web"), ground.image("refused"));
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    ground.create(&deployment(ground.namespace(), "refused", &refused)).await;
    ground.embedded_kubernetes().deny(ground.namespace(), Some("refused"), "not on a Saturday");
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let junk = server.publish_raw(&topic, "junk").await;
    let ids = server.publish_all(&topic, &[PushMessage::now(&image, 1), PushMessage::now(&refused, 1)]).await;
    let ran = from(&ground, &server, &subscription, &["-o", "json"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let reasons = left(&ran);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("not on a Saturday")), "{reasons:?}");
    for (id, acks) in [(&junk, 0), (&ids[0], 1), (&ids[1], 0)] {
        let message = server.message(&subscription, id).await;
        assert_eq!(message["acks"], acks, "{message}");
        assert_eq!(message["given_back"], 1 - acks, "{message}");
    }
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_workload_of_several_images_is_restarted_once(ground: Ground, server: PubSubServer) {
    let images = ["one", "two", "three"].map(|name| ground.image(name));
    let mut web = deployment(ground.namespace(), "web", &images[0]);
    let containers = images
        .iter()
        .enumerate()
        .map(|(number, image)| json!({"name": format!("c{number}"), "image": image, "imagePullPolicy": "Always"}));
    web["spec"]["template"]["spec"]["containers"] = containers.collect();
    ground.create(&web).await;
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.publish_all(&topic, &images.clone().map(|image| PushMessage::now(&image, 1))).await;
    let ran = from(&ground, &server, &subscription, &["-o", "json"]).await;
    assert_eq!((ran.code, &ran.json()["acknowledged"]), (0, &json!(3)), "{ran:?}");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_subscription_that_cannot_be_read_is_one_sentence(ground: Ground, server: PubSubServer) {
    let ran = from(&ground, &server, "projects/test-project/subscriptions/missing", &[]).await;
    let sentence = ran.failed_with_one_sentence();
    assert!(sentence.contains("subscriptions/missing cannot be read: it does not exist"), "{sentence}");

    // One whose stream cannot be opened is not called empty.
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.publish(&topic, &PushMessage::now(&ground.image("web"), 1)).await;
    server.fault("StreamingPull", "UNAVAILABLE", "no").await;
    let ran = from(&ground, &server, &subscription, &[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("cannot be opened"), "{ran:?}");
}
