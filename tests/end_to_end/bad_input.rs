//! Bad input: bytes that no Pub/Sub has sent. Each gets a problem that says what and where, never a 500, and the
//! service goes on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{get, send};
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(what_is_no_delivery_is_a_problem_that_says_where);
    suite.on_embedded(a_body_over_the_limit_is_too_large);
    suite.on_embedded(the_limit_of_a_body_can_be_set);
    suite.on_embedded(requests_that_break_off_leave_the_service_alone);
    suite.on_embedded(bad_queries_are_problems);
}

async fn service(ground: &Ground) -> Service {
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    ground.service().start_ready().await
}

/// Nothing panicked, and a push is handled as ever.
async fn works_as_ever(ground: &Ground, service: &Service) {
    let log = service.log();
    assert!(log.iter().all(|line| line.is_object()), "only log lines on stderr: {log:?}");
    assert!(!log.iter().any(|line| line["severity"] == "ERROR"), "{log:?}");
    assert_eq!(get(&format!("{}/livez", service.internal)).await.status, 200);
    let answer = service.push(&PushMessage::now(&ground.image("web"), 9)).await;
    assert_eq!(answer.json()["outcome"], "restarted", "{}", answer.text());
}

const METADATA: [(&str, &str); 1] = [("x-goog-pubsub-message-id", "1")];
const BATCH: [(&str, &str); 1] = [("content-type", "application/cloudevents-batch+json")];
const CLOUD_EVENT: [(&str, &str); 2] =
    [("ce-specversion", "1.0"), ("ce-type", "google.cloud.pubsub.topic.v1.messagePublished")];

/// Headers, body, and what the detail must name.
type Case = (&'static [(&'static str, &'static str)], Vec<u8>, &'static str);

async fn what_is_no_delivery_is_a_problem_that_says_where(ground: Ground) {
    let service = service(&ground).await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000)).into_bytes();
    let message = |fields: &str| format!("{{\"message\":{{{fields}}},\"subscription\":\"s\"}}").into_bytes();
    let cases: Vec<Case> = vec![
        (&[], Vec::new(), "no JSON object"),
        (&[], b"hello".to_vec(), "line 1 column 1"),
        (&[], b"<?xml version='1.0'?>".to_vec(), "line 1"),
        (&[("content-type", "application/x-www-form-urlencoded")], b"message=hello".to_vec(), "no JSON object"),
        (&[], b"{\"message\":".to_vec(), "EOF"),
        (&[], b"{\"message\":{\"data\":\"e30=\"}".to_vec(), "EOF"),
        (&[], b"{} {}".to_vec(), "trailing"),
        (&[], b"[]".to_vec(), "array"),
        (&[], b"[{\"message\":{\"data\":\"e30=\"}}]".to_vec(), "array"),
        (&[], b"5".to_vec(), "no JSON object"),
        (&[], b"null".to_vec(), "no JSON object"),
        (&[], b"\"message\"".to_vec(), "no JSON object"),
        (&[], b"{\"message\":{}}\xff".to_vec(), "byte 14"),
        (&[], b"\xef\xbb\xbf".to_vec(), "no JSON object"),
        (&[], vec![0; 1000], "no JSON object"),
        (&[], vec![0xff; 200_000], "byte 0"),
        (&[], deep("[", "]"), "array"),
        (&[], deep("{\"a\":", "}"), "no JSON object"),
        (&[], message("\"data\":\"e30=\",\"data\":\"e30=\""), "duplicate"),
        (&[], b"{\"message\":{},\"message\":{}}".to_vec(), "duplicate"),
        (&[], b"{\"message\":\"e30=\",\"subscription\":\"s\"}".to_vec(), "message"),
        (&[], b"{\"message\":[],\"subscription\":\"s\"}".to_vec(), "message"),
        (&[], message("\"data\":5"), "message"),
        (&[], message("\"data\":{\"action\":\"INSERT\"}"), "message"),
        (&[], message("\"data\":\"not base64!\""), "message.data"),
        (&[], message("\"data\":\"e3*_\""), "message.data"),
        (&[], message("\"data\":\"e\""), "message.data"),
        (&[], message("\"data\":\"e30=\\u0000\""), "message.data"),
        (&[], message("\"messageId\":true"), "message.messageId"),
        (&[], message("\"messageId\":-5"), "message.messageId"),
        (&[], b"{\"specversion\":\"1.0\",\"id\":{}}".to_vec(), "id: expected"),
        (&[], b"{\"specversion\":\"1.0\",\"time\":\"yesterday\"}".to_vec(), "time: expected"),
        (&[], b"{\"specversion\":\"1.0\",\"data_base64\":\"%\"}".to_vec(), "data_base64"),
        (&[], b"{\"specversion\":\"1.0\",\"data\":{\"message\":{\"data\":\"%\"}}}".to_vec(), "message.data"),
        (&BATCH, b"[]".to_vec(), "a batch of 0 CloudEvents"),
        (&BATCH, b"[{\"specversion\":\"1.0\"},{\"specversion\":\"1.0\"}]".to_vec(), "a batch of 2 CloudEvents"),
        (&[], message(&format!("\"x\":1,\"{0}\":\"{0}\",\"data\":[\"{0}\"]", "x".repeat(100_000))), "message"),
        (&[], format!("\"{}\"", "x".repeat(100_000)).into_bytes(), "no JSON object"),
        (&[], message("\"messageId\":1e999999"), "message"),
        (&[], message("\"publishTime\":\"yesterday\""), "message.publishTime"),
        (&[], message("\"publishTime\":\"2026-13-40T25:61:61Z\""), "message.publishTime"),
        (&[], message("\"publishTime\":\"99999-01-01T00:00:00Z\""), "message.publishTime"),
        (&[], message("\"publishTime\":1700000000"), "message"),
        (&[("x-goog-pubsub-publish-time", "yesterday")], b"{}".to_vec(), "x-goog-pubsub-publish-time"),
        (&CLOUD_EVENT, message("\"data\":\"%%%\""), "message.data"),
        (&[("ce-type", "t"), ("ce-time", "yesterday")], message("\"data\":\"e30=\""), "ce-time"),
    ];
    for (headers, body, named) in cases {
        let text = format!("{headers:?} {}", String::from_utf8_lossy(&body[..body.len().min(80)]));
        let problem = service.deliver(headers, body).await.problem(400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{text}: {detail:?} does not name {named:?}");
        assert!(detail.len() < 500, "{text}: {detail}");
    }
    // With the headers of a delivery the same junk is a delivery of junk: a nack would bring it back for days.
    for headers in [&METADATA[..], &CLOUD_EVENT] {
        for body in [Vec::new(), b"hello".to_vec(), vec![0xff; 200_000], deep("[", "]")] {
            let answer = service.deliver(headers, body).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("ignored")), "{headers:?}");
        }
    }
    works_as_ever(&ground, &service).await;
}

const MIB: usize = 1024 * 1024;

/// A push of exactly so many bytes.
fn body_of(length: usize, message: &PushMessage) -> Bytes {
    let body = message.body();
    Bytes::from(body.clone() + &" ".repeat(length - body.len()))
}

async fn a_body_over_the_limit_is_too_large(ground: Ground) {
    let service = service(&ground).await;
    let message = PushMessage::now(&ground.image("web"), 1);
    for url in [&service.public, &service.admin] {
        let push = async |body: Bytes| send(http::Method::POST, &format!("{url}/v1/push"), &[], body).await;
        let problem = push(body_of(14 * MIB + 1, &message)).await.problem(413);
        assert!(problem["detail"].as_str().unwrap().contains("--max-body"), "{problem}");
    }
    assert_eq!(ground.generation(&deployment(ground.namespace(), "web", "")).await, 1);
    let answer = service.deliver(&[], body_of(14 * MIB, &message)).await;
    assert_eq!(answer.json()["outcome"], "restarted", "{}", answer.text());

    // The largest message there is: 10 MB of data, 13.4 wrapped. It is junk, and not too large.
    let wrapped =
        json!({"message": {"data": STANDARD.encode(vec![b'x'; 10_000_000]), "messageId": "1"}, "subscription": "s"});
    let answer = service.deliver(&[], wrapped.to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (200, &json!("not_json")), "{}", answer.text());
    works_as_ever(&ground, &service).await;
}

async fn the_limit_of_a_body_can_be_set(ground: Ground) {
    let image = ground.image("nobodys");
    let service = ground.service().arguments(["--max-body", "1KiB"]).start_ready().await;
    let message = PushMessage::now(&image, 1);
    service.deliver(&[], body_of(1025, &message)).await.problem(413);
    assert_eq!(service.deliver(&[], body_of(1024, &message)).await.status, 200);
}

/// Sends raw bytes, ends the sending side, and reads what comes back.
async fn raw(url: &str, bytes: Vec<u8>) -> String {
    let address = url.trim_start_matches("http://").to_owned();
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        // The other side may have had enough before the end: a reset is an answer, too.
        let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    exchange.await.unwrap()
}

async fn requests_that_break_off_leave_the_service_alone(ground: Ground) {
    let service = service(&ground).await;
    let push = "POST /v1/push HTTP/1.1\r\nhost: x\r\n";
    for bytes in [
        String::new(),
        "POST /v1/pu".to_owned(),
        format!("{push}content-length: 100\r\n\r\n{{\"message\":"),
        format!("{push}transfer-encoding: chunked\r\n\r\n5\r\n{{\"mes\r\n"),
        format!("{push}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        format!("{push}content-length: -1\r\n\r\n"),
        format!("{push}content-length: 99999999999999999999999\r\n\r\n"),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1_000_000)),
        format!("{push}x: {}\r\n\r\n", "a".repeat(1_000_000)),
    ] {
        let answer = raw(&service.public, bytes.clone().into_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or("none");
        assert!(status == "none" || status.starts_with('4'), "{:?}: {answer}", &bytes[..bytes.len().min(80)]);
    }
    works_as_ever(&ground, &service).await;
}

async fn bad_queries_are_problems(ground: Ground) {
    let service = service(&ground).await;
    for query in [
        "",
        "?",
        "?image",
        "?image=",
        "?image=a/UPPER",
        "?image=a&image=b",
        "?image=a%20b",
        "?image=%ff",
        "?x=y",
        "?image=a@sha256:x",
    ] {
        for url in [
            format!("{}/v1/lookup{query}", service.internal),
            format!("{}/v1/lookup{query}", service.admin),
            format!("{}/v1/explain{query}", service.admin),
        ] {
            let problem = get(&url).await.problem(400);
            assert!(problem["detail"].as_str().unwrap().contains("image"), "{url}: {problem}");
        }
        // Without an image it is of all.
        if !["", "?"].contains(&query) {
            for listener in [&service.internal, &service.admin] {
                get(&format!("{listener}/v1/rollouts{query}")).await.problem(400);
            }
        }
    }
    works_as_ever(&ground, &service).await;
}
