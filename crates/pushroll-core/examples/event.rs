//! Takes the image out of a Pub/Sub push: the body from standard input, or one of its own.
//!
//! `cargo run -p pushroll-core --example event <push.json`

use std::error::Error;
use std::io::{IsTerminal as _, Read as _};

use pushroll_core::event::{artifact, envelope};

/// The payload is `{"action":"INSERT","tag":"gcr.io/shop/web:1"}`.
const PUSH: &str = r#"{"message": {"data": "eyJhY3Rpb24iOiJJTlNFUlQiLCJ0YWciOiJnY3IuaW8vc2hvcC93ZWI6MSJ9",
    "messageId": "7", "publishTime": "2026-11-20T09:16:40Z"}, "subscription": "projects/shop/subscriptions/gcr"}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut body = Vec::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_end(&mut body)?;
    }
    if body.is_empty() {
        body = PUSH.into();
    }
    // The headers of an HTTP request; this one came without those of an unwrapped push.
    let message = envelope::decode(|_| None, &body)?;
    println!("message {}, {:?}", message.id.as_deref().unwrap_or("without id"), message.shape);
    match artifact::decode(&message.data) {
        Ok(push) => println!("pushed: {}", push.image),
        Err(not_for_us) => println!("nothing to do: {}", not_for_us.reason),
    }
    Ok(())
}
