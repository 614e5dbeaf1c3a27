//! `pushroll replay`: an event from a file, from stdin or made up, sent through the door that Pub/Sub uses.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::command::{Ran, run, run_with};
use crate::support::fixtures::{PushMessage, deployment, digest};
use crate::support::ground::Ground;
use crate::support::recorded::{recording, recording_path};
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(replay_takes_an_event_in_any_form);
    suite.on_embedded(replay_sends_each_recording_as_it_came);
    suite.on_both(replay_makes_an_event_up);
    suite.on_both(a_dry_replay_does_nothing);
    suite.on_embedded(replay_fails_where_the_push_has_failed);
    suite.plain(replay_without_a_service_is_one_sentence);
}

fn write(ground: &Ground, name: &str, content: &str) -> String {
    let path = ground.directory().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn push_endpoint(address: &str) -> String {
    format!("{address}/v1/push")
}

async fn replay(service: &Service, arguments: &[&str]) -> Ran {
    let to = push_endpoint(&service.admin);
    run(&[&["replay", "--to", &to, "-o", "json"], arguments].concat()).await
}

fn outcome(ran: &Ran) -> Value {
    ran.json()["outcome"].clone()
}

async fn replay_takes_an_event_in_any_form(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;

    let message = PushMessage::now(&image, 1);
    let whole = write(&ground, "whole.json", &message.body());
    let ran = replay(&service, &[&whole]).await;
    assert_eq!(
        (ran.code, outcome(&ran), &ran.json()["message_id"]),
        (0, json!("restarted"), &json!(message.id)),
        "{ran:?}"
    );
    let ran = replay(&service, &[&whole]).await;
    assert_eq!((ran.code, outcome(&ran)), (0, json!("current")), "a whole push keeps its id and its time: {ran:?}");

    let bare = PushMessage::now(&image, 2).payload().to_string();
    let ran = replay(&service, &[&write(&ground, "bare.json", &bare)]).await;
    assert_eq!((ran.code, outcome(&ran), &ran.json()["digest"]), (0, json!("restarted"), &json!(digest(2))), "{ran:?}");
    assert!(
        ran.json()["message_id"].is_null() && ran.json()["published"].is_null(),
        "it stays out of the order: {ran:?}"
    );

    let to = push_endpoint(&service.public);
    let from_stdin = async |arguments: &[&str], environment: &[(&str, &str)], stdin: &str| {
        run_with(&[&["replay", "-"], arguments].concat(), environment, stdin).await
    };
    let ran = from_stdin(&["--to", &to], &[], &PushMessage::now(&image, 3).body()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("NAMESPACE") && ran.stdout.contains("restarted") && !ran.stdout.contains('\u{1b}'),
        "{ran:?}"
    );
    assert!(ran.stderr.contains(&format!("restarted: {image}")), "{ran:?}");
    let ran = from_stdin(&["-o", "name"], &[("PUSHROLL_TO", &to)], &PushMessage::now(&image, 4).body()).await;
    assert_eq!((ran.code, ran.stdout), (0, format!("{}/deployment/web\n", ground.namespace())), "{}", ran.stderr);

    let ran = from_stdin(&["--to", &to, "-o", "json"], &[], "hello").await;
    assert_eq!((ran.code, &ran.json()["status"]), (1, &json!(400)), "the service's own answer to junk: {ran:?}");
    assert_eq!(ground.generation(&web).await, 5);
}

async fn replay_sends_each_recording_as_it_came(ground: Ground) {
    let image = "us-east1-docker.pkg.dev/lab-project/my-repo/hello-world:1.1";
    ground.create(&deployment(ground.namespace(), "web", image)).await;
    let service = ground.service().start_ready().await;
    for (case, expected) in [
        ("insert_tag_digest", "restarted"),
        ("insert_digest_only", "ignored"),
        ("delete_tag", "ignored"),
        ("attributes_and_data", "ignored"),
        ("unicode_junk", "ignored"),
        ("nowrapper_meta", "ignored"),
    ] {
        let ran = replay(&service, &[recording_path(case).to_str().unwrap()]).await;
        assert_eq!((ran.code, outcome(&ran)), (0, json!(expected)), "{case}: {ran:?}");
        let recorded = recording(case);
        let direct = service.deliver(&recorded.message_headers(), recorded.body.clone()).await.json();
        assert_eq!(ran.json()["message_id"], direct["message_id"], "{case}");
        assert_eq!(ran.json()["published"], direct["published"], "{case}");
    }
}

async fn replay_makes_an_event_up(ground: Ground) {
    let image = ground.image("web");
    let repository = image.rsplit_once(':').unwrap().0.to_owned();
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    ground.create(&deployment(ground.namespace(), "latest", &repository)).await;
    let service = ground.service().start_ready().await;
    let ran = replay(&service, &["--image", &image]).await;
    let answer = ran.json();
    assert_eq!((ran.code, &answer["outcome"], &answer["image"]), (0, &json!("restarted"), &json!(image)), "{answer}");
    assert!(answer.get("digest").is_none() && answer.get("published").is_none(), "{answer}");
    let ran = replay(&service, &["--image", &image, "--digest", &digest(1)]).await;
    assert_eq!((outcome(&ran), &ran.json()["digest"]), (json!("restarted"), &json!(digest(1))), "{ran:?}");
    let ran = replay(&service, &["--image", &repository]).await;
    let name = &ran.json()["workloads"][0]["name"];
    assert_eq!((outcome(&ran), name), (json!("restarted"), &json!("latest")), "no tag is latest: {ran:?}");
    let ran = replay(&service, &["--image", &ground.image("nobodys")]).await;
    assert_eq!((ran.code, outcome(&ran)), (0, json!("not_in_use")), "{ran:?}");
    let ran = replay(&service, &["--image", &format!("{image}@{}", digest(1))]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--digest"), "{ran:?}");
}

async fn a_dry_replay_does_nothing(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;
    let file = write(&ground, "whole.json", &PushMessage::now(&image, 1).body());
    let ran = replay(&service, &[&file, "--dry-run"]).await;
    assert_eq!((ran.code, outcome(&ran)), (0, json!("dry_run")), "{ran:?}");
    assert_eq!(ran.json()["workloads"][0]["action"], "restarted", "{ran:?}");
    for to in ["?x=y", "?dry_run=false", "?dryrun=true"].map(|query| push_endpoint(&service.admin) + query) {
        let ran = run(&["replay", &file, "--dry-run", "--to", &to]).await;
        assert_eq!(ran.code, 1, "never a real one by mistake: {ran:?}");
    }
    let ran = run(&["replay", &file, "--dry-run", "--to", &push_endpoint(&service.public)]).await;
    assert_eq!(ran.code, 1, "the public listener takes none: {ran:?}");
    assert!(ran.stderr.contains("admin"), "{ran:?}");
    assert_eq!(ground.generation(&web).await, 1);
}

async fn replay_fails_where_the_push_has_failed(ground: Ground) {
    use embedded_kubernetes::Outage;
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = ground.service().start_ready().await;
    ground.embedded_kubernetes().deny(ground.namespace(), None, "not on a Saturday");
    let ran = replay(&service, &["--image", &image]).await;
    assert_eq!((ran.code, outcome(&ran)), (0, json!("deferred")), "it waits: {ran:?}");
    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    let ran = replay(&service, &["--image", &image]).await;
    assert_eq!((ran.code, outcome(&ran)), (1, json!("failed")), "{ran:?}");
    assert!(ran.stderr.contains("503"), "{ran:?}");
    let to = push_endpoint(&service.admin);
    let ran = run(&["replay", "--image", &image, "--to", &to]).await;
    assert!(ran.stderr.contains("failed: ") && ran.stdout.contains("failed"), "{ran:?}");
    let wrong_path = format!("{}/wrong", service.admin);
    let ran = run(&["replay", "--image", &image, "--to", &wrong_path]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("404"), "{ran:?}");
}

async fn replay_without_a_service_is_one_sentence() {
    // A port that is taken and that nobody listens on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = push_endpoint(&format!("http://{}", socket.local_addr().unwrap()));
    for format in ["table", "json", "name"] {
        let ran = run(&["replay", "--image", "nginx:1", "--to", &to, "-o", format]).await;
        assert!(ran.failed_with_one_sentence().contains(&to), "{ran:?}");
    }
    // A service over plain HTTP needs no certificate authorities.
    let nowhere = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    let ran = run_with(&["replay", "--image", "nginx:1", "--to", &to], &nowhere, "").await;
    assert!(ran.failed_with_one_sentence().contains("no answer from"), "{ran:?}");

    let missing = Path::new("/nonexistent/push.json");
    let ran = run(&["replay", missing.to_str().unwrap(), "--to", &to]).await;
    assert!(ran.failed_with_one_sentence().contains("/nonexistent/push.json"), "{ran:?}");
    let ran = run(&["replay", "/", "--to", &to]).await;
    assert!(ran.failed_with_one_sentence().starts_with('/'), "{ran:?}");
}
