//! The event: every shape in which a message arrives at `POST /v1/push`, and what is read from it.

mod shapes;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment, digest};
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::recorded::recordings;
use crate::support::service::Service;
use crate::support::suite::Suite;
use shapes::{Headers, Shape, changed, hand_made_shapes, json_type, metadata, shapes, without};

pub fn tests(suite: &mut Suite) {
    suite.on_both(every_recorded_push_is_answered_for_what_it_is);
    suite.on_both(a_push_in_any_shape_rolls_its_workload);
    suite.on_both(a_hand_made_push_rolls_its_workload);
    suite.on_embedded(what_the_envelope_says_stands_in_the_answer);
    suite.on_embedded(publish_times_have_any_number_of_digits);
    suite.on_both(one_repository_has_one_name_however_it_is_written);
}

/// Sees the test's namespace alone: images that are not the test's own are somebody else's, too.
async fn service_of(ground: &Ground) -> Service {
    ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await
}

async fn every_recorded_push_is_answered_for_what_it_is(ground: Ground) {
    let web = deployment(ground.namespace(), "web", "us-east1-docker.pkg.dev/lab-project/my-repo/hello-world:1.1");
    ground.create(&web).await;
    let service = service_of(&ground).await;

    let expected = [
        ("attributes_and_data", "10", "ignored", "not_a_registry_event"),
        ("delete_tag", "3", "ignored", "deleted"),
        ("insert_digest_only", "2", "ignored", "untagged"),
        ("insert_tag_digest", "1", "restarted", ""),
        ("nowrapper_meta", "949", "ignored", "not_json"),
        ("unicode_junk", "6", "ignored", "not_json"),
    ];
    let recordings = recordings();
    let cases: BTreeSet<_> = recordings.iter().map(|recorded| recorded.case.as_str()).collect();
    assert_eq!(cases, expected.iter().map(|expected| expected.0).collect::<BTreeSet<_>>());
    for (case, id, outcome, code) in expected {
        let recorded = recordings.iter().find(|recorded| recorded.case == case).unwrap();
        let url = format!("{}/v1/push{}", service.public, recorded.query);
        let answer = send(http::Method::POST, &url, &recorded.message_headers(), recorded.body.clone()).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
        let answer = answer.json();
        assert_eq!((answer["outcome"].as_str(), answer["message_id"].as_str()), (Some(outcome), Some(id)), "{answer}");
        assert_eq!(answer["code"].as_str().unwrap_or_default(), code, "{case}: {answer}");
        assert!(code.is_empty() || answer["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{answer}");
        if outcome == "restarted" {
            let hex = "6ec128e26cd5a1b9d0f7e3f2b4c6d8e0f1a2b3c4d5e6f708192a3b4c5d6e7f80";
            assert_eq!(answer["digest"], format!("sha256:{hex}"));
            assert_eq!(answer["published"], "2026-11-20T09:16:40.380Z");
        }
    }
    assert_eq!(ground.generation(&web).await, 2);
}

async fn deliver(service: &Service, headers: &Headers, body: Vec<u8>) -> Value {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = service.deliver(&headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn a_push_in_any_shape_rolls_its_workload(ground: Ground) {
    rolls_its_workload_in_each(&ground, shapes()).await;
}

async fn a_hand_made_push_rolls_its_workload(ground: Ground) {
    rolls_its_workload_in_each(&ground, hand_made_shapes()).await;
}

async fn rolls_its_workload_in_each(ground: &Ground, shapes: Vec<Shape>) {
    let service = {
        for number in 0..shapes.len() {
            let name = format!("web-{number}");
            ground.create(&deployment(ground.namespace(), &name, &ground.image(&name))).await;
        }
        service_of(ground).await
    };
    for (number, (shape, delivery)) in shapes.into_iter().enumerate() {
        let name = format!("web-{number}");
        let message = PushMessage::now(&ground.image(&name), 0xaa);
        let (headers, body) = delivery(&message);

        let answer = deliver(&service, &headers, body.clone()).await;
        assert_eq!(
            (answer["outcome"].as_str(), &answer["digest"]),
            (Some("restarted"), &json!(digest(0xaa))),
            "{shape}: {answer}"
        );
        assert_eq!(answer["workloads"][0]["name"], name, "{shape}: {answer}");
        let knows_the_message = !shape.starts_with("unwrapped without");
        let (id, published) = (answer["message_id"].as_str(), answer["published"].as_str());
        let expected = format!("{:.3}", message.published);
        assert_eq!(
            (id, published),
            if knows_the_message { (Some(message.id.as_str()), Some(&*expected)) } else { (None, None) },
            "{shape}"
        );
        let warned = answer["warnings"].to_string().contains("no publish time");
        assert_eq!(warned, !knows_the_message, "{shape}: {answer}");

        let again = deliver(&service, &headers, body).await;
        // A message that is not known is a new push.
        let (outcome, generation) = if knows_the_message { ("current", 2) } else { ("restarted", 3) };
        assert_eq!(again["outcome"], outcome, "{shape}: {again}");
        let web = deployment(ground.namespace(), &name, &message.image);
        assert_eq!(ground.generation(&web).await, generation, "{shape}");
    }
}

async fn what_the_envelope_says_stands_in_the_answer(ground: Ground) {
    let service = service_of(&ground).await;
    let message = PushMessage::now(&ground.image("nobodys"), 1);
    let counted = changed(&message, |body| body["deliveryAttempt"] = json!(7));
    let answer = deliver(&service, &json_type(), counted).await;
    let expected = json!({
        "outcome": "not_in_use", "image": message.image, "digest": message.digest, "message_id": message.id,
        "published": format!("{:.3}", message.published), "subscription": "projects/p/subscriptions/s",
        "delivery_attempt": 7, "source": answer["source"], "workloads": [],
    });
    assert_eq!(answer, expected);
    assert_eq!((&answer["source"]["tier"], &answer["source"]["authoritative"]), (&json!("scan"), &json!(true)));

    for (shape, body) in [
        ("absent", without(&message, &["data"])),
        ("empty", changed(&message, |body| body["message"]["data"] = json!(""))),
    ] {
        let answer = deliver(&service, &json_type(), body).await;
        assert_eq!((&answer["outcome"], &answer["code"]), (&json!("ignored"), &json!("empty")), "{shape}: {answer}");
    }
    let answer = deliver(&service, &metadata(&message), Vec::new()).await;
    assert_eq!((&answer["code"], &answer["message_id"]), (&json!("empty"), &json!(message.id)), "unwrapped: {answer}");
}

async fn publish_times_have_any_number_of_digits(ground: Ground) {
    let service = service_of(&ground).await;
    for (written, shown) in [
        ("2026-11-20T09:16:40Z", "2026-11-20T09:16:40.000Z"),
        ("2026-11-20T09:16:40.3Z", "2026-11-20T09:16:40.300Z"),
        ("2026-11-20T09:16:40.38Z", "2026-11-20T09:16:40.380Z"),
        ("2026-11-20T09:16:40.380Z", "2026-11-20T09:16:40.380Z"),
        ("2026-11-20T09:16:40.3801Z", "2026-11-20T09:16:40.3801Z"),
        ("2026-11-20T09:16:40.38012Z", "2026-11-20T09:16:40.38012Z"),
        ("2026-11-20T09:16:40.380123Z", "2026-11-20T09:16:40.380123Z"),
        ("2026-11-20T09:16:40.3801234Z", "2026-11-20T09:16:40.3801234Z"),
        ("2026-11-20T09:16:40.38012345Z", "2026-11-20T09:16:40.38012345Z"),
        ("2026-11-20T09:16:40.380123456Z", "2026-11-20T09:16:40.380123456Z"),
        ("2026-11-20T10:16:40.380+01:00", "2026-11-20T09:16:40.380Z"),
    ] {
        let message = PushMessage::now(&ground.image("nobodys"), 1);
        let body = changed(&message, |body| {
            body["message"]["publishTime"] = json!(written);
            body["message"]["publish_time"] = json!(written);
        });
        let answer = deliver(&service, &json_type(), body).await;
        assert_eq!(answer["published"], shown, "wrapped {written}: {answer}");
        let headers = vec![("x-goog-pubsub-publish-time", written.to_owned())];
        let answer = deliver(&service, &headers, message.payload().to_string().into_bytes()).await;
        assert_eq!(answer["published"], shown, "unwrapped {written}: {answer}");
    }
}

async fn one_repository_has_one_name_however_it_is_written(ground: Ground) {
    let project = ground.namespace();
    // The host does not count towards the 255 bytes of a path.
    let long = format!("northamerica-northeast1-docker.pkg.dev/{project}/{:p<1$}", "", 254 - project.len());
    let cases = [
        // What the workload runs, and what is pushed.
        (format!("gcr.io/{project}/a:1"), format!("us-docker.pkg.dev/{project}/gcr.io/a:1")),
        (format!("us-docker.pkg.dev/{project}/gcr.io/b/c:1"), format!("gcr.io/{project}/b/c:1")),
        (format!("us-docker.pkg.dev/{project}/us.gcr.io/d:1"), format!("us.gcr.io/{project}/d:1")),
        (format!("europe-docker.pkg.dev/{project}/eu.gcr.io/e:1"), format!("eu.gcr.io/{project}/e:1")),
        (format!("asia.gcr.io/{project}/f:1"), format!("asia-docker.pkg.dev/{project}/asia.gcr.io/f:1")),
        (format!("gcr.io/example.com/{project}/g:1"), format!("us-docker.pkg.dev/example.com/{project}/gcr.io/g:1")),
        (format!("localhost:5000/{project}/h:1"), format!("localhost:5000/{project}/h:1")),
        (
            format!("registry.example:8443/{project}/deep/er/i:v1.0_x-y"),
            format!("registry.example:8443/{project}/deep/er/i:v1.0_x-y"),
        ),
        (format!("{project}/j"), format!("docker.io/{project}/j:latest")),
        (format!("docker.io/library/k-{project}:1"), format!("k-{project}:1")),
        (format!("{long}:1"), format!("{long}:1")),
        (format!("my_registry.example/{project}/l:1"), format!("my_registry.example/{project}/l:1")),
    ];
    for (number, (image, _)) in cases.iter().enumerate() {
        ground.create(&deployment(project, &format!("web-{number}"), image)).await;
    }
    let service = service_of(&ground).await;
    for (number, (image, pushed)) in cases.iter().enumerate() {
        let answer = service.push(&PushMessage::now(pushed, 0xaa)).await.json();
        assert_eq!((&answer["outcome"], &answer["image"]), (&json!("restarted"), &json!(pushed)), "{image}: {answer}");
        let names: Vec<_> = answer["workloads"].as_array().unwrap().iter().map(|workload| &workload["name"]).collect();
        assert_eq!(names, [&json!(format!("web-{number}"))], "{image} alone: {answer}");
    }
}
