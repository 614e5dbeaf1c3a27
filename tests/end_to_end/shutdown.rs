//! The end: what is in flight is finished, what is new is refused, and nothing holds the end up for ever.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use embedded_kubernetes::Outage;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::probes::probe;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{Answer, send, try_send};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(a_push_in_flight_is_answered_before_the_end);
    suite.on_both(a_push_that_waits_for_its_proof_gets_it_before_the_end);
    suite.on_embedded(who_keeps_a_connection_is_answered_and_sent_away);
    suite.on_embedded(an_interrupt_waits_for_no_load_balancer);
    suite.on_embedded(what_has_come_by_the_end_is_answered);
    suite.on_both(either_signal_ends_an_idle_service_at_once);
    suite.on_embedded(a_signal_right_at_the_start_is_a_clean_end);
    suite.on_embedded(the_drain_timeout_cuts_off_what_does_not_end);
    suite.on_embedded(idle_and_half_open_connections_do_not_hold_up_the_end);
}

type InFlight = JoinHandle<Result<Answer, Box<dyn std::error::Error + Send + Sync>>>;

/// A push that has reached the service and waits.
async fn push_in_flight(service: &Service, message: &PushMessage) -> InFlight {
    let (url, body) = (format!("{}/v1/push", service.public), message.body());
    let push = tokio::spawn(async move { try_send(http::Method::POST, &url, &[], body).await });
    service.wait_for_status("the push is held", |status| status["held_pushes"] == 1).await;
    push
}

fn is_refused(url: &str) -> Option<()> {
    TcpStream::connect(url.trim_start_matches("http://")).is_err().then_some(())
}

async fn a_push_in_flight_is_answered_before_the_end(ground: Ground) {
    for signal in ["TERM", "INT"] {
        let name = format!("web-{}", signal.to_lowercase());
        let web = deployment(ground.namespace(), &name, &ground.image(&name));
        ground.create(&web).await;
        let service = ground.service().arguments(["--hold", "60s", "--drain-timeout", "60s"]).start_ready().await;
        ground.embedded_kubernetes().set_outage(Some(Outage::Hang));
        let push = push_in_flight(&service, &PushMessage::now(&ground.image(&name), 1)).await;

        service.signal(signal);
        eventually("not ready", async || (probe(&service, "/readyz").await.0 == 503).then_some(())).await;
        let draining = "[+]index ok\n[-]shutdown failed: draining\ncheck failed\n";
        assert_eq!(probe(&service, "/readyz").await.1, draining);
        assert_eq!(probe(&service, "/livez").await, (200, "ok\n".to_owned()), "alive to the end");
        assert_eq!(service.status().await["not_ready_because"], "draining");
        for url in [&service.public, &service.admin] {
            eventually("new connections are refused", async || is_refused(url)).await;
        }
        assert!(!push.is_finished());

        ground.embedded_kubernetes().set_outage(None);
        let answer = push.await.unwrap().unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
        assert_eq!(service.ended().await.code(), Some(0));
        assert_eq!(ground.generation(&web).await, 2);
    }
}

async fn a_push_that_waits_for_its_proof_gets_it_before_the_end(ground: Ground) {
    let image = ground.image("web");
    let service = ground
        .service()
        .arguments(["--rebuild-interval", "2s", "--hold", "60s", "--drain-timeout", "60s"])
        .start_ready()
        .await;
    // Nobody is known to run it: only the next scan finds the workload.
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let message = PushMessage::now(&image, 1);
    let (url, body) = (format!("{}/v1/push", service.public), message.body());
    let push = tokio::spawn(async move { send(http::Method::POST, &url, &[], body).await });
    // It is in flight, or answered already on a machine that is slow enough.
    eventually("the push has arrived", async || {
        let status = service.status().await;
        (status["held_pushes"] == 1 || status["recent"] != json!([])).then_some(())
    })
    .await;
    service.signal("TERM");
    let answer = push.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(service.ended().await.code(), Some(0));
    assert_eq!(ground.generation(&web).await, 2);
}

/// One request on a connection that stays open; its answer, head and body.
fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> String {
    write(stream, method, path, body);
    answer(stream)
}

fn write(stream: &mut TcpStream, method: &str, path: &str, body: &str) {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
}

fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, got)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "the connection ended before the answer: {text}");
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if got.len() >= length.parse::<usize>().unwrap() {
            return text;
        }
        assert!(read > 0, "the connection ended within the answer: {text}");
    }
}

async fn who_keeps_a_connection_is_answered_and_sent_away(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    // It would go on for long after this test.
    let service = ground.service().arguments(["--drain-delay", "10m"]).start_ready().await;
    let connect = |url: &str| TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let [mut kept, mut idle, mut admin] = [&service.public, &service.public, &service.admin].map(|url| connect(url));
    for (digest, stream) in [(1, &mut kept), (2, &mut idle), (3, &mut admin)] {
        let body = PushMessage::now(&image, digest).body();
        let answer = tokio::task::block_in_place(|| ask(stream, "POST", "/v1/push", &body));
        assert!(answer.starts_with("http/1.1 200") && !answer.contains("connection: close"), "{answer}");
    }
    service.signal("TERM");
    eventually("not ready", async || (probe(&service, "/readyz").await.0 == 503).then_some(())).await;
    // On connections that are open, and on a new one: whoever has not heard of it yet is served.
    let mut new = connect(&service.public);
    for (digest, stream) in [(4, &mut kept), (5, &mut admin), (6, &mut new)] {
        let body = PushMessage::now(&image, digest).body();
        let answer = tokio::task::block_in_place(|| ask(stream, "POST", "/v1/push", &body));
        assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "it is closed after its answer");
    }
    // What is refused is sent away as well.
    let answer = tokio::task::block_in_place(|| ask(&mut idle, "GET", "/nothing", ""));
    assert!(answer.starts_with("http/1.1 404") && answer.contains("connection: close"), "{answer}");
    assert_eq!(ground.generation(&web).await, 7);
    eventually("the log says so", async || says(&service.log(), "requests are taken for another 600s").then_some(()))
        .await;
}

/// Requests that lie in the socket when the end begins, on kept connections and on new ones.
async fn what_has_come_by_the_end_is_answered(ground: Ground) {
    let service = ground.service().arguments(["--drain-delay", "0s"]).start_ready().await;
    let body = PushMessage::now(&ground.image("nobody"), 1).body();
    let connect = |_| TcpStream::connect(service.public.trim_start_matches("http://")).unwrap();
    let mut connections: Vec<TcpStream> = (0..10).map(connect).collect();
    for kept in &mut connections[..5] {
        let answer = tokio::task::block_in_place(|| ask(kept, "POST", "/v1/push", &body));
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
    }
    let open = r#"pushroll_connections{listener="public"}"#;
    eventually("all are accepted", async || (service.metric(open).await == 10.0).then_some(())).await;
    service.signal("STOP");
    for connection in &mut connections {
        write(connection, "POST", "/v1/push", &body);
    }
    service.signal("TERM");
    service.signal("CONT");
    for connection in &mut connections {
        let answer = tokio::task::block_in_place(|| answer(connection));
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
    }
    assert_eq!(service.ended().await.code(), Some(0));
}

async fn an_interrupt_waits_for_no_load_balancer(ground: Ground) {
    let service = ground.service().arguments(["--drain-delay", "10m"]).start_ready().await;
    service.signal("INT");
    assert_eq!(service.ended().await.code(), Some(0));
}

fn says(log: &[Value], words: &str) -> bool {
    log.iter().any(|line| line["message"].as_str().is_some_and(|message| message.contains(words)))
}

async fn either_signal_ends_an_idle_service_at_once(ground: Ground) {
    for signal in ["TERM", "INT"] {
        let service = ground.service().start_ready().await;
        service.signal(signal);
        assert_eq!(service.ended().await.code(), Some(0), "{signal}");
        eventually("the log says so", async || says(&service.log(), "stopped").then_some(())).await;
        assert!(says(&service.log(), "draining") && !says(&service.log(), "in flight after"), "{:?}", service.log());
    }
}

async fn a_signal_right_at_the_start_is_a_clean_end(ground: Ground) {
    ground.embedded_kubernetes().set_outage(Some(Outage::Hang));
    for _ in 0..10 {
        let service = ground.service().start().await;
        service.signal("TERM");
        assert_eq!(service.ended().await.code(), Some(0));
    }
}

async fn the_drain_timeout_cuts_off_what_does_not_end(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = ground.service().arguments(["--hold", "10m", "--drain-timeout", "50ms"]).start_ready().await;
    // Never lifted while the service lives.
    ground.embedded_kubernetes().set_outage(Some(Outage::Hang));
    let push = push_in_flight(&service, &PushMessage::now(&image, 1)).await;
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(push.await.unwrap().is_err(), "no answer is better than a wrong one");
    eventually("the log says so", async || says(&service.log(), "stopped").then_some(())).await;
    assert!(says(&service.log(), "still in flight after 50ms"), "{:?}", service.log());
    assert!(
        !says(&service.log(), "did not answer within"),
        "calls to the API server are not waited for: {:?}",
        service.log()
    );
}

async fn idle_and_half_open_connections_do_not_hold_up_the_end(ground: Ground) {
    let service = ground.service().arguments(["--drain-timeout", "50ms"]).start_ready().await;
    let mut open = Vec::new();
    for url in [&service.public, &service.internal, &service.admin] {
        for bytes in ["", "POST /v1/push HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", "POST /v1/pu"] {
            let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
            stream.write_all(bytes.as_bytes()).unwrap();
            open.push(stream);
        }
    }
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    drop(open);
}
