//! Of a delivery: lines of headers and an empty line, where there are any, and the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::is_told_briefly;
use crate::event::envelope::{
    EnvelopeError, MESSAGE_ID_HEADER, Message, PUBLISH_TIME_HEADER, SUBSCRIPTION_HEADER, Shape, decode,
};

const METADATA: [&str; 3] = [MESSAGE_ID_HEADER, PUBLISH_TIME_HEADER, SUBSCRIPTION_HEADER];

pub fn hold(bytes: &[u8]) {
    let (headers, body) = taken_apart(bytes);
    let header = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    match decode(header, body) {
        Ok(message) => {
            message_is_bounded(&message, body);
            message_is_the_same_in_each_envelope(&message);
            super::event::hold(&message.data);
        }
        Err(error) => {
            is_told_briefly(&error.to_string());
            // With its metadata in headers any body is a payload: only the headers can be wrong.
            if METADATA.iter().any(|name| header(name).is_some()) {
                let EnvelopeError::Malformed { field, .. } = &error else { panic!("{error}") };
                assert!(header(field).is_some(), "{error}");
            }
        }
    }
}

/// `name: value` on lines of their own, then an empty line; else all of it is the body.
fn taken_apart(bytes: &[u8]) -> (Vec<(&str, &str)>, &[u8]) {
    let headers = || {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let headers: Option<Vec<_>> = head.lines().map(|line| line.split_once(": ")).collect();
        Some((headers?, &bytes[end + 2..]))
    };
    headers().unwrap_or((Vec::new(), bytes))
}

/// What goes into a record, a log line and an answer cannot be megabytes.
fn message_is_bounded(message: &Message, body: &[u8]) {
    assert!(message.id.as_ref().is_none_or(|id| (1..=256).contains(&id.len())), "{message:?}");
    assert!(message.subscription.as_ref().is_none_or(|name| name.chars().count() <= 513), "{message:?}");
    assert!(message.data.len() <= body.len());
    if message.shape == Shape::Unwrapped {
        assert_eq!(message.data, body);
    }
}

fn message_is_the_same_in_each_envelope(message: &Message) {
    let published = message.published.map(|published| published.to_string());
    let wrapped = json!({
        "deliveryAttempt": message.delivery_attempt,
        "message": {"data": STANDARD.encode(&message.data), "messageId": message.id, "publishTime": published},
        "subscription": message.subscription,
    });
    let wrapped = wrapped.to_string();
    let again = decode(|_| None, wrapped.as_bytes()).unwrap();
    assert_eq!(again, Message { shape: Shape::Wrapped, ..message.clone() });

    let eventarc = |name: &str| (name == "ce-specversion").then_some("1.0");
    let again = decode(eventarc, wrapped.as_bytes()).unwrap();
    assert_eq!(again, Message { shape: Shape::Eventarc, ..message.clone() });

    let data_base64 = STANDARD.encode(&wrapped);
    let data: serde_json::Value = serde_json::from_str(&wrapped).unwrap();
    for structured in [
        json!({"specversion": "1.0", "data": data}),
        json!({"specversion": "1.0", "data": wrapped}),
        json!({"specversion": "1.0", "data_base64": data_base64}),
    ] {
        for body in [structured.to_string(), format!("[{structured}]"), format!("\u{feff}{structured}")] {
            let again = decode(|_| None, body.as_bytes()).unwrap();
            assert_eq!(again, Message { shape: Shape::Eventarc, ..message.clone() });
        }
    }

    let header = |name: &str| match name {
        MESSAGE_ID_HEADER => message.id.as_deref(),
        PUBLISH_TIME_HEADER => published.as_deref(),
        SUBSCRIPTION_HEADER => message.subscription.as_deref(),
        _ => None,
    };
    if METADATA.iter().any(|name| header(name).is_some()) {
        let again = decode(header, &message.data).unwrap();
        assert_eq!(again, Message { shape: Shape::Unwrapped, delivery_attempt: None, ..message.clone() });
    }
}
