//! Bodies that stall, that come a byte at a time, and that are too many and too large to be held at once.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use super::{connection, next_answer, push_bytes, refused};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::issuer::{Issuer, Jwks, bearer, good_token};
use crate::support::suite::Suite;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_embedded(a_slow_body_is_cut_off);
    suite.on_embedded(slow_bodies_hold_up_no_push);
    suite.on_embedded(large_bodies_are_read_in_turn);
}

fn is_timeout(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("--body-timeout"), "{answer}");
}

async fn a_slow_body_is_cut_off(ground: Ground) {
    let issuer = Issuer::start(Jwks::genuine()).await;
    let service = ground.service().authenticated_by(&issuer).arguments(["--body-timeout", "500ms"]).start_ready().await;
    let (body, good) = (PushMessage::now(&ground.image("nobody"), 1).body(), bearer(&good_token()));
    for sent in [0, body.len() - 1] {
        let mut stalled = connection(&service.public, &push_bytes(&good, &body, sent));
        is_timeout(&next_answer(&mut stalled));
    }
    // Never still, and never done.
    let mut trickle = connection(&service.public, &push_bytes(&good, &body, 0));
    let mut writer: TcpStream = trickle.try_clone().unwrap();
    let bytes = body.clone();
    let trickled = tokio::task::spawn_blocking(move || {
        for byte in bytes.as_bytes() {
            std::thread::sleep(Duration::from_millis(50));
            if writer.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    is_timeout(&next_answer(&mut trickle));
    drop(trickle);
    assert_eq!(refused(&service, "body_time").await, 3.0);
    trickled.await.unwrap();
}

async fn slow_bodies_hold_up_no_push(ground: Ground) {
    let service = ground.service().arguments(["--max-requests", "2", "--body-timeout", "60s"]).start_ready().await;
    let body = PushMessage::now(&ground.image("nobody"), 1).body();
    let mut slow: Vec<TcpStream> =
        (0..50).map(|_| connection(&service.public, &push_bytes("x", &body, body.len() / 2))).collect();
    for _ in 0..5 {
        assert_eq!(service.push(&PushMessage::now(&ground.image("nobody"), 1)).await.status, 200);
    }
    // It is still there, and as good as any when its body is.
    slow[0].write_all(&body.as_bytes()[body.len() / 2..]).unwrap();
    assert!(next_answer(&mut slow[0]).starts_with("HTTP/1.1 200 "));
}

async fn large_bodies_are_read_in_turn(ground: Ground) {
    let service = ground.service().arguments(["--max-body", "1MiB", "--body-timeout", "60s"]).start_ready().await;
    // Junk on the topic, as large as it may be.
    let large = format!("{{\"action\": \"{}\"}}", "x".repeat((1 << 20) - 20));
    let sent = |bytes: usize| push_bytes("x", &large, bytes);
    // There is room for one of this size; another waits, and gets its turn when that is cut off for its stall.
    let mut stalled = connection(&service.public, &sent(500_000));
    let another = {
        let (url, bytes) = (service.public.clone(), sent(large.len()));
        tokio::task::spawn_blocking(move || next_answer(&mut connection(&url, &bytes)))
    };
    assert_eq!(service.push(&PushMessage::now(&ground.image("nobody"), 1)).await.status, 200, "small ones do not wait");
    is_timeout(&next_answer(&mut stalled));
    let answer = another.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!((refused(&service, "body_time").await, refused(&service, "body_memory").await), (1.0, 0.0));
}
