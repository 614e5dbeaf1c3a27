//! The `Authorization` header as it crosses the wire, and what is read of a request before it is judged.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{Guarded, assert_refused};
use crate::support::ground::Ground;
use crate::support::issuer::{Jwks, bearer, good_token};
use crate::support::suite::Suite;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_embedded(what_is_not_one_bearer_token_is_refused);
    suite.on_embedded(a_bearer_token_may_be_written_in_other_ways);
    suite.on_embedded(a_bad_token_is_refused_before_the_body_is_read);
}

async fn what_is_not_one_bearer_token_is_refused(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let good = bearer(&good_token());
    let token = good.strip_prefix("Bearer ").unwrap();
    let one = |value: &str| vec![value.to_owned()];
    guarded
        .refuses(&[
            ("none", vec![], "no_token"),
            ("empty", one(""), "malformed"),
            ("the scheme alone", one("Bearer"), "malformed"),
            ("the scheme and blanks", one("Bearer   "), "malformed"),
            ("garbage", one("garbage"), "malformed"),
            ("garbage as a token", one("Bearer garbage"), "malformed"),
            ("three dots", one("Bearer ..."), "malformed"),
            ("two dots", one("Bearer .."), "malformed"),
            ("another scheme", one(&format!("Basic {token}")), "malformed"),
            ("no scheme", one(token), "malformed"),
            ("no blank", one(&format!("Bearer{token}")), "malformed"),
            ("two tokens", one(&format!("{good} {token}")), "malformed"),
            ("two in a list", one(&format!("{good}, {good}")), "malformed"),
            ("the same header twice", vec![good.clone(), good.clone()], "malformed"),
            ("a good and a bad one", vec![good.clone(), "Bearer x".to_owned()], "malformed"),
            ("a bad and a good one", vec!["Bearer x".to_owned(), good.clone()], "malformed"),
            ("no base64", one("Bearer %%%.%%%.%%%"), "malformed"),
            ("100 KB", one(&bearer(&"x".repeat(100_000))), "malformed"),
            ("100 KB that begin well", one(&format!("{good}{}", "A".repeat(100_000))), "malformed"),
        ])
        .await;
    // Not in the query either.
    let url = format!("{}/v1/push?access_token={token}", guarded.service.public);
    let answer = crate::support::http::send(http::Method::POST, &url, &[], guarded.message().body()).await;
    assert_refused("in the query", &answer);
}

async fn a_bearer_token_may_be_written_in_other_ways(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let token = good_token();
    for written in [
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("Bearer {token}   "),
        format!("Bearer   {token}"),
        format!("Bearer {token}\t"),
    ] {
        guarded.takes(&written, &written).await;
    }
}

/// Sends some of a request and returns the first that is answered. It blocks: the service is another process.
fn first_words(stream: &mut TcpStream, sent: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    let mut words = [0; 64];
    let read = stream.read(&mut words).expect("an answer");
    String::from_utf8_lossy(&words[..read]).into_owned()
}

async fn a_bad_token_is_refused_before_the_body_is_read(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let address = guarded.service.public.strip_prefix("http://").unwrap();
    let body = guarded.message().body();
    let head = |authorization: &str, more: &str| {
        format!(
            "POST /v1/push HTTP/1.1\r\nhost: {address}\r\nauthorization: {authorization}\r\ncontent-length: {}\r\n{more}\r\n",
            body.len()
        )
    };
    let connect = || TcpStream::connect(address).unwrap();
    // The body never comes, nor is it asked for.
    for more in ["", "expect: 100-continue\r\n"] {
        let answer = first_words(&mut connect(), &head("Bearer x", more));
        assert!(answer.starts_with("HTTP/1.1 401 "), "{more}: {answer}");
    }
    let mut stream = connect();
    let answer = first_words(&mut stream, &head(&bearer(&good_token()), "expect: 100-continue\r\n"));
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    let answer = first_words(&mut stream, &body);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
