//! Floods: too many connections, too many requests, and those that are too slow; genuine pushes, probes and metrics
//! are answered all the same. What ten thousand cost is measured (`benches/measure/flood.rs`).

mod bodies;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::documents::assert_restarted;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{get, try_send};
use crate::support::issuer::{Issuer, Jwks, KEY_ID, OTHER, bearer, claims, good_token};
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(genuine_pushes_and_probes_are_answered_in_a_flood);
    suite.on_embedded(beyond_max_requests_a_push_comes_again);
    suite.on_embedded(a_newcomer_is_refused_only_where_all_are_worked_on);
    suite.on_embedded(a_connection_with_genuine_pushes_outlasts_a_flood);
    suite.on_embedded(large_headers_are_bounded_together);
    suite.on_embedded(slow_headers_and_unread_answers_are_cut_off_and_idle_connections_are_not);
    bodies::tests(suite);
}

/// A connection on which something was sent. It blocks: the service is another process.
fn connection(url: &str, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(sent).unwrap();
    stream
}

/// A push as it crosses the wire, with so much of its body.
fn push_bytes(authorization: &str, body: &str, sent: usize) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &body.as_bytes()[..sent]].concat()
}

/// The next answer on a connection, or nothing where it was closed.
fn next_answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let length = text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if let (Some((_, body)), Some(length)) = (text.split_once("\r\n\r\n"), length)
            && body.len() >= length
        {
            return text;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return text,
            Ok(bytes) => read.extend_from_slice(&buffer[..bytes]),
        }
    }
}

async fn refused(service: &Service, reason: &str) -> f64 {
    service.metric(&format!("pushroll_refused_total{{listener=\"public\",reason=\"{reason}\"}}")).await
}

async fn open(service: &Service) -> f64 {
    service.metric("pushroll_connections{listener=\"public\"}").await
}

const HALF_HEADER: &[u8] = b"POST /v1/push HTTP/1.1\r\nhost: x\r\nauthor";

async fn genuine_pushes_and_probes_are_answered_in_a_flood(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let issuer = Issuer::start(Jwks::genuine()).await;
    let service = ground.service().authenticated_by(&issuer).arguments(["--max-connections", "60", "--hold", "60s"]);
    let service = service.start_ready().await;

    let (good, forged) = (bearer(&good_token()), bearer(&OTHER.token(KEY_ID, &claims())));
    let body = PushMessage::now(&image, 9).body();
    let kinds = [
        Vec::new(),
        HALF_HEADER.to_vec(),
        push_bytes(&good, &body, body.len() / 2),
        push_bytes(&forged, &body, body.len() / 2),
    ];
    let mut held: Vec<TcpStream> = Vec::new();
    let attack = |held: &mut Vec<TcpStream>| {
        held.extend(kinds.iter().flat_map(|sent| (0..8).map(|_| connection(&service.public, sent))));
        // Not more than any machine has descriptors for.
        held.drain(..held.len().saturating_sub(192));
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let invalid: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, url) = (Arc::clone(&is_over), format!("{}/v1/push", service.public));
            let (forged, body) = (forged.clone(), body.clone());
            tokio::spawn(async move {
                let mut answers = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let headers = [("authorization", forged.as_str())];
                    if let Ok(answer) = try_send(http::Method::POST, &url, &headers, body.clone()).await {
                        assert_eq!(answer.status, 401);
                        answers += 1;
                    }
                }
                answers
            })
        })
        .collect();
    for number in 0..10 {
        attack(&mut held);
        let answer = service.push_with(&good_token(), &PushMessage::now(&image, number)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
        for path in ["/livez", "/readyz", "/metrics", "/v1/status"] {
            assert_eq!(get(&format!("{}{path}", service.internal)).await.status, 200, "{path}");
        }
        let open = open(&service).await;
        assert!(open <= 60.0, "{open} connections");
    }
    assert_eq!(ground.generation(&web).await, 11);
    assert!(refused(&service, "displaced").await > 0.0, "more came than there is room for");
    assert_eq!(refused(&service, "connections").await, 0.0, "nobody was turned away");
    is_over.store(true, Ordering::Relaxed);
    for task in invalid {
        assert!(task.await.unwrap() > 0, "invalid tokens were answered meanwhile");
    }
    drop(held);
    eventually("all are gone", async || (open(&service).await == 0.0).then_some(())).await;
}

/// A proxy that lets no PATCH through before it is told to.
async fn held_patches(ground: &Ground) -> (ApiProxy, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let proxy = {
        let gate = Arc::clone(&gate);
        ApiProxy::start(ground, move |request: ApiRequest| {
            let gate = Arc::clone(&gate);
            async move {
                if request.is_patch() {
                    // Until the test is over, or lets all go.
                    let _ = tokio::time::timeout(Duration::from_secs(4), gate.acquire()).await;
                }
                Passage::Forward
            }
        })
        .await
    };
    (proxy, gate)
}

async fn two_workloads(ground: &Ground) -> [String; 2] {
    let images = ["web", "shop"].map(|name| ground.image(name));
    for (image, name) in images.iter().zip(["web", "shop"]) {
        ground.create(&deployment(ground.namespace(), name, image)).await;
    }
    images
}

async fn beyond_max_requests_a_push_comes_again(ground: Ground) {
    let images = two_workloads(&ground).await;
    let (proxy, gate) = held_patches(&ground).await;
    let service = ground.service().through(&proxy).arguments(["--max-requests", "2", "--hold", "60s"]);
    let service = service.start_ready().await;
    let messages = images.each_ref().map(|image| PushMessage::now(image, 1));
    let third = async {
        eventually("both are being worked on", async || (proxy.at_once().0 >= 2).then_some(())).await;
        let answer = service.push(&PushMessage::now(&images[0], 2)).await;
        let problem = answer.problem(503);
        assert_eq!(problem["title"], "Too many requests", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("--max-requests"), "{problem}");
        assert!(answer.headers.contains_key("retry-after"));
        assert_eq!(get(&format!("{}/readyz", service.internal)).await.status, 200);
        // People have a way in of their own.
        let dry_run = format!("{}/v1/push?dry_run=true", service.admin);
        let body = PushMessage::now(&images[0], 2).body();
        let asked = try_send(http::Method::POST, &dry_run, &[], body).await.unwrap();
        assert_eq!(asked.json()["outcome"], "dry_run", "{}", asked.text());
        gate.add_permits(100);
    };
    let (first, second, ()) = tokio::join!(service.push(&messages[0]), service.push(&messages[1]), third);
    [first, second].iter().for_each(assert_restarted);
    assert_eq!(refused(&service, "requests").await, 1.0);
    assert_eq!(service.push(&PushMessage::now(&images[0], 2)).await.json()["outcome"], "restarted");
}

async fn a_newcomer_is_refused_only_where_all_are_worked_on(ground: Ground) {
    let images = two_workloads(&ground).await;
    let (proxy, gate) = held_patches(&ground).await;
    let service = ground.service().through(&proxy).arguments(["--max-connections", "2", "--hold", "60s"]);
    let service = service.start_ready().await;
    let messages = images.each_ref().map(|image| PushMessage::now(image, 1));
    let third = async {
        eventually("both are being worked on", async || (proxy.at_once().0 >= 2).then_some(())).await;
        let mut newcomer = connection(&service.public, &push_bytes("x", "{}", 2));
        let answer = next_answer(&mut newcomer);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 5\r\n") && answer.contains("application/problem+json"), "{answer}");
        assert!(
            answer.ends_with("\"detail\":\"there is no place for another connection now; come again\"}\n"),
            "{answer}"
        );
        assert_eq!(get(&format!("{}/readyz", service.internal)).await.status, 200);
        gate.add_permits(100);
    };
    let (first, second, ()) = tokio::join!(service.push(&messages[0]), service.push(&messages[1]), third);
    [first, second].iter().for_each(assert_restarted);
    assert!(refused(&service, "connections").await >= 1.0);
    // Both are idle or gone now: there is room.
    assert_eq!(service.push(&PushMessage::now(&images[0], 2)).await.json()["outcome"], "restarted");
}

async fn a_connection_with_genuine_pushes_outlasts_a_flood(ground: Ground) {
    let issuer = Issuer::start(Jwks::genuine()).await;
    let service = ground.service().authenticated_by(&issuer).arguments(["--max-connections", "20"]).start_ready().await;
    let body = PushMessage::now(&ground.image("nobody"), 1).body();
    let push = push_bytes(&bearer(&good_token()), &body, body.len());
    let mut genuine = connection(&service.public, &push);
    assert!(next_answer(&mut genuine).starts_with("HTTP/1.1 200 "));
    let mut flood: Vec<TcpStream> = Vec::new();
    for sent in [&b""[..], HALF_HEADER, &push_bytes("Bearer x", "", 0)] {
        flood.extend((0..40).map(|_| connection(&service.public, sent)));
        eventually("the flood has come", async || (refused(&service, "displaced").await > 0.0).then_some(())).await;
        genuine.write_all(&push).unwrap();
        let answer = next_answer(&mut genuine);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    drop(flood);
}

async fn large_headers_are_bounded_together(ground: Ground) {
    let service = ground.service().start_ready().await;
    let head = |bytes: usize| [b"POST /v1/push HTTP/1.1\r\nhost: x\r\nx: ".as_slice(), &vec![b'x'; bytes]].concat();
    let held: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(service.public.strip_prefix("http://").unwrap()).unwrap();
            // It may be closed before all of it is sent.
            let _ = stream.write_all(&head(100_000));
            stream
        })
        .collect();
    let cut_off = eventually("those beyond the bound are cut off", async || {
        Some(refused(&service, "header_memory").await).filter(|count| *count >= 68.0)
    });
    assert_eq!(cut_off.await, 68.0, "32 may be as large as that");
    assert_eq!(service.push(&PushMessage::now(&ground.image("nobody"), 1)).await.status, 200);
    drop(held);
    // One alone may be large, and is told where it is too large.
    eventually("they are gone", async || (open(&service).await == 0.0).then_some(())).await;
    let body = PushMessage::now(&ground.image("nobody"), 1).body();
    for (bytes, status) in [(150_000, 200), (300_000, 431)] {
        let rest = format!("\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut stream = TcpStream::connect(service.public.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = stream.write_all(&[head(bytes), rest.into_bytes()].concat());
        let answer = next_answer(&mut stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) || (status == 431 && answer.is_empty()), "{answer}");
    }
}

async fn slow_headers_and_unread_answers_are_cut_off_and_idle_connections_are_not(ground: Ground) {
    let service = ground.service().start_ready().await;
    let body = PushMessage::now(&ground.image("nobody"), 1).body();
    let push = push_bytes("x", &body, body.len());
    let mut idle = [connection(&service.public, b""), connection(&service.public, &push)];
    assert!(next_answer(&mut idle[1]).starts_with("HTTP/1.1 200 "));
    let mut slow = [connection(&service.public, b"P"), connection(&service.public, HALF_HEADER)];
    // So many answers that the kernel does not take them all; nobody reads them. Those with a body that nobody wanted are
    // queued while the next request is being asked already.
    let without_body = "GET /openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n";
    let with_body = "GET /openapi.yaml HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx";
    let _unread = [without_body, with_body].map(|asked| {
        let unread = connection(&service.internal, b"");
        unread.set_nonblocking(true).unwrap();
        let asked = asked.repeat(1000);
        assert!((&unread).write(asked.as_bytes()).unwrap() > asked.len() / 4);
        unread
    });
    // A byte now and then does not help.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        slow[1].write_all(b"x").unwrap();
    }
    for slow in &mut slow {
        assert_eq!(next_answer(slow), "", "closed without an answer");
    }
    assert_eq!(refused(&service, "header_time").await, 2.0);
    let name = "pushroll_refused_total{listener=\"internal\",reason=\"write_time\"}";
    eventually("nobody reads", async || (service.metric(name).await == 2.0).then_some(())).await;
    for stream in &mut idle {
        stream.write_all(&push).unwrap();
        let answer = next_answer(stream);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
