//! The payload: what a registry sends and what else turns up on its topic; ack, or nack with `--poison nack`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment, digest};
use crate::support::ground::Ground;
use crate::support::http::Answer;
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(every_payload_is_answered_for_what_it_is);
    suite.on_both(a_push_is_done_once_however_its_digest_is_written);
    suite.on_embedded(poison_is_nacked_where_that_is_asked_for);
    suite.on_embedded(a_reason_never_repeats_a_payload_at_length);
}

const REPOSITORY: &str = "us-docker.pkg.dev/p/r/nobodys";

/// Payloads of images, each with the reference that the answer names.
fn images() -> Vec<(Value, &'static str)> {
    let of = |tag: &'static str| (json!({"action": "INSERT", "tag": tag}), tag);
    vec![
        (
            json!({"action": "INSERT", "tag": "us-docker.pkg.dev/p/r/nobodys:1", "digest": format!("{REPOSITORY}@{}", digest(1))}),
            "us-docker.pkg.dev/p/r/nobodys:1",
        ),
        (
            json!({"action": "INSERT", "tag": "us-docker.pkg.dev/p/r/nobodys:1", "digest": digest(1)}),
            "us-docker.pkg.dev/p/r/nobodys:1",
        ),
        (
            json!({"action": "INSERT", "tag": "us-docker.pkg.dev/p/r/nobodys:1", "digest": null, "more": {"x": [1]}}),
            "us-docker.pkg.dev/p/r/nobodys:1",
        ),
        of("us-docker.pkg.dev/p/r/deep/er/nobodys:v1.0_x-y"),
        of("gcr.io/p/nobodys:1"),
        of("gcr.io/example.com/p/nobodys:1"),
        of("us-docker.pkg.dev/example.com/p/r/nobodys:1"),
        of("localhost:5000/nobodys:1"),
        of("[::1]:5000/nobodys:1"),
        of("registry.example:8443/nobodys"),
        of("nobodys"),
        // A tag that only looks a little like a signature.
        of("us-docker.pkg.dev/p/r/nobodys:sha256-abc.sig"),
    ]
}

/// Payloads that nothing can be done with: bytes, code, and whether a dead-letter topic should see them.
fn ignored() -> Vec<(Vec<u8>, &'static str, bool)> {
    let json = |value: Value, code, poison| (value.to_string().into_bytes(), code, poison);
    let insert = |tag: &str, code, poison| json(json!({"action": "INSERT", "tag": tag}), code, poison);
    let hex = "ab".repeat(32);
    let signature = |suffix: &str| insert(&format!("{REPOSITORY}:sha256-{hex}{suffix}"), "signature", false);
    let nested = |depth: usize| format!("{{\"action\": {}1{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    vec![
        json(json!({"action": "INSERT", "digest": format!("{REPOSITORY}@{}", digest(1))}), "untagged", false),
        json(json!({"action": "INSERT"}), "untagged", false),
        json(json!({"action": "DELETE", "tag": format!("{REPOSITORY}:1")}), "deleted", false),
        json(json!({"action": "DELETE", "digest": format!("{REPOSITORY}@{}", digest(1))}), "deleted", false),
        signature(".sig"),
        signature(".att"),
        signature(".sbom"),
        signature(""),
        json(json!({"action": "UPDATE", "tag": format!("{REPOSITORY}:1")}), "unknown_action", true),
        json(json!({"action": "insert", "tag": format!("{REPOSITORY}:1")}), "unknown_action", true),
        json(json!({"action": "", "tag": format!("{REPOSITORY}:1")}), "unknown_action", true),
        json(json!({}), "not_a_registry_event", true),
        json(json!({"tag": format!("{REPOSITORY}:1")}), "not_a_registry_event", true),
        json(json!({"action": ["INSERT"], "tag": format!("{REPOSITORY}:1")}), "not_a_registry_event", true),
        insert("", "invalid_reference", true),
        insert("us-docker.pkg.dev/P/R/UPPER:1", "invalid_reference", true),
        insert("us-docker.pkg.dev//r:1", "invalid_reference", true),
        insert("https://us-docker.pkg.dev/p/r:1", "invalid_reference", true),
        insert("registry.example:port/r:1", "invalid_reference", true),
        insert("../../../etc/passwd", "invalid_reference", true),
        insert("a b", "invalid_reference", true),
        insert("nul\u{0}:1", "invalid_reference", true),
        insert("образ:1", "invalid_reference", true),
        insert(&format!("a:{}", "x".repeat(129)), "invalid_reference", true),
        insert(&format!("{}:1", "a/".repeat(200) + "a"), "invalid_reference", true),
        insert(&format!("{REPOSITORY}:1@{}", digest(1)), "invalid_reference", true),
        json(json!({"action": "INSERT", "tag": 5}), "invalid_reference", true),
        json(json!([{"action": "INSERT", "tag": "a:1"}]), "not_json", true),
        json(json!("INSERT"), "not_json", true),
        json(json!(5), "not_json", true),
        json(json!(null), "not_json", true),
        (Vec::new(), "empty", true),
        (b" ".to_vec(), "not_json", true),
        (b"{".to_vec(), "not_json", true),
        (b"{\"action\":\"INSERT\",\"action\":\"DELETE\"}".to_vec(), "not_json", true),
        (b"{\"action\":\"INSERT\",\"tag\":1e999999}".to_vec(), "not_json", true),
        (b"{\"action\":\"INSERT\",\"tag\":\"\xff\xfe:1\"}".to_vec(), "not_json", true),
        (b"{\"action\":\"INSERT\",\"tag\":\"\\ud800:1\"}".to_vec(), "not_json", true),
        (b"\0\0\0\0".to_vec(), "not_json", true),
        (nested(100), "not_a_registry_event", true),
        (nested(100_000), "not_json", true),
        (noise(200_000), "not_json", true),
    ]
}

/// Bytes without rhyme or reason, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// The same payload wrapped and unwrapped: two ways to the same answer.
async fn deliver_both(service: &Service, payload: &[u8]) -> [Answer; 2] {
    let wrapped = json!({"message": {"data": STANDARD.encode(payload), "messageId": "1"}, "subscription": "s"});
    let headers = [("x-goog-pubsub-message-id", "1"), ("x-goog-pubsub-subscription-name", "s")];
    [service.deliver(&[], wrapped.to_string()).await, service.deliver(&headers, payload.to_vec()).await]
}

/// The beginning of a payload, for the message of a test that failed.
fn excerpt(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).chars().take(80).collect()
}

async fn every_payload_is_answered_for_what_it_is(ground: Ground) {
    let service = ground.service().start_ready().await;
    for (payload, image) in images() {
        for answer in deliver_both(&service, payload.to_string().as_bytes()).await {
            assert_eq!(answer.status, 200, "{payload}: {}", answer.text());
            let answer = answer.json();
            assert_eq!(
                (&answer["outcome"], &answer["image"]),
                (&json!("not_in_use"), &json!(image)),
                "{payload}: {answer}"
            );
        }
    }
    for (payload, code, _) in ignored() {
        for answer in deliver_both(&service, &payload).await {
            assert_eq!(answer.status, 200, "{}: {}", excerpt(&payload), answer.text());
            let answer = answer.json();
            assert_eq!(
                (&answer["outcome"], &answer["code"]),
                (&json!("ignored"), &json!(code)),
                "{}: {answer}",
                excerpt(&payload)
            );
            assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains(' ')), "{answer}");
            assert_eq!(answer["workloads"], json!([]), "{answer}");
        }
    }
}

async fn poison_is_nacked_where_that_is_asked_for(ground: Ground) {
    let service = ground.service().arguments(["--poison", "nack"]).start_ready().await;
    for (payload, code, poison) in ignored() {
        for answer in deliver_both(&service, &payload).await {
            let answer = if poison {
                answer.problem(422)
            } else {
                assert_eq!(answer.status, 200, "{}: {}", excerpt(&payload), answer.text());
                answer.json()
            };
            assert_eq!(
                (&answer["outcome"], &answer["code"]),
                (&json!("ignored"), &json!(code)),
                "{}: {answer}",
                excerpt(&payload)
            );
        }
    }
    for (payload, _) in images() {
        for answer in deliver_both(&service, payload.to_string().as_bytes()).await {
            assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("not_in_use")), "{payload}");
        }
    }
}

async fn a_reason_never_repeats_a_payload_at_length(ground: Ground) {
    let service = ground.service().start_ready().await;
    let long = "x".repeat(100_000);
    for payload in [json!({"action": long}), json!({"action": "INSERT", "tag": format!("{long} {long}")}), json!(long)]
    {
        for answer in deliver_both(&service, payload.to_string().as_bytes()).await {
            assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("ignored")));
            assert!(answer.body.len() < 1000, "{} bytes", answer.body.len());
        }
    }
}

/// What the record holds of a digest is read back: else the redelivery would find no record.
async fn a_push_is_done_once_however_its_digest_is_written(ground: Ground) {
    let service = ground.service().start_ready().await;
    for (name, digest, known) in [
        ("capitals", digest(0xab).to_uppercase(), json!(digest(0xab))),
        ("short", format!("SHA256:{}", "ab".repeat(20)), Value::Null),
        ("long", format!("{}:{}", "sha".repeat(1000), "ab".repeat(32)), Value::Null),
    ] {
        let workload = deployment(ground.namespace(), name, &ground.image(name));
        ground.create(&workload).await;
        let push = PushMessage { digest, ..PushMessage::now(&ground.image(name), 1) };
        for outcome in ["restarted", "current"] {
            let answer = service.push(&push).await.json();
            assert_eq!((&answer["outcome"], &answer["digest"]), (&json!(outcome), &known), "{name}: {answer}");
        }
        assert_eq!(ground.generation(&workload).await, 2, "{name}");
    }
}
