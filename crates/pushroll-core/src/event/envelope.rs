//! The envelope: a Pub/Sub push in each of its shapes, decoded to a [`Message`].
//!
//! - *wrapped* (the default): `{"message": {"data": BASE64, "messageId", "publishTime", ...}, "subscription"}`;
//! - *unwrapped*: the body is the payload itself; with metadata, the `x-goog-pubsub-*` headers name it;
//! - *Eventarc*: CloudEvents in binary mode (`ce-*` headers), the body as wrapped.
//!
//! Only what cannot be a delivery at all is an error: a nack slows a whole subscription, so a payload
//! that nothing can be done with is for [`super::artifact`] to say.
//!
//! Source: Google's "Push subscriptions" and "Payload unwrapping" pages; CloudEvents' HTTP binding, 3.1.

mod json_kind;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use serde::Deserialize;

use crate::excerpt::excerpt;
use json_kind::{JsonKind, object};

/// Header of an unwrapped message with metadata: its id.
pub const MESSAGE_ID_HEADER: &str = "x-goog-pubsub-message-id";
/// Header of an unwrapped message with metadata: when it was published.
pub const PUBLISH_TIME_HEADER: &str = "x-goog-pubsub-publish-time";
/// Header of an unwrapped message with metadata: the subscription that delivers it.
pub const SUBSCRIPTION_HEADER: &str = "x-goog-pubsub-subscription-name";

/// What Pub/Sub encodes with is the standard alphabet, padded; hand-written replays often lack the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// serde_json quotes a value of the wrong type in full, and a body may be megabytes.
const PROBLEM_CHARACTERS: usize = 200;
/// Pub/Sub's ids are numbers of some twenty digits; ours go into the record on a pod template.
const ID_BYTES_MAX: usize = 256;
/// `projects/P/subscriptions/S`: at most 30 and 255 characters.
const SUBSCRIPTION_BYTES_MAX: usize = 512;

/// How a message was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Pub/Sub's default JSON.
    Wrapped,
    /// The payload is the body; the metadata, if any, stands in headers.
    Unwrapped,
    /// CloudEvents binary mode around the wrapped JSON.
    Eventarc,
}

/// One Pub/Sub message, free of its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How it was wrapped.
    pub shape: Shape,
    /// Unique in its topic; the same on every redelivery. Absent where unwrapped without metadata.
    pub id: Option<String>,
    /// When Pub/Sub accepted it. Absent where unwrapped without metadata.
    pub published: Option<Timestamp>,
    /// `projects/P/subscriptions/S`.
    pub subscription: Option<String>,
    /// Counted by Pub/Sub where the subscription has a dead-letter topic.
    pub delivery_attempt: Option<u32>,
    /// The payload.
    pub data: Vec<u8>,
}

/// Why a request is no Pub/Sub delivery.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Neither the body nor the headers are of any shape a delivery can have.
    #[error(
        "the body is no JSON object ({0}) and there is no x-goog-pubsub-* or ce-* header: send a Pub/Sub push, \
         wrapped or unwrapped, or a CloudEvent"
    )]
    NotADelivery(String),
    /// A wrapped message that Pub/Sub cannot have written.
    #[error("{field}: {problem}")]
    Malformed {
        /// Where, as a path into the body or the name of a header.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The wrapped body. `Cow`, because the emulator writes `\/` for every slash, in base64 too; two
/// fields for two spellings, because a serde alias refuses a body that has both.
#[derive(Deserialize)]
struct WrappedBody<'a> {
    #[serde(borrow, deserialize_with = "object")]
    message: WrappedMessage<'a>,
    #[serde(default)]
    subscription: Option<serde_json::Value>,
    #[serde(default, rename = "deliveryAttempt")]
    delivery_attempt: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct WrappedMessage<'a> {
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default, rename = "messageId")]
    message_id: Option<Text<'a>>,
    #[serde(borrow, default, rename = "message_id")]
    message_id_snake: Option<Text<'a>>,
    #[serde(borrow, default, rename = "publishTime")]
    publish_time: Option<Text<'a>>,
    #[serde(borrow, default, rename = "publish_time")]
    publish_time_snake: Option<Text<'a>>,
}

/// Borrowed where it can be: in an `Option`, serde would copy a bare `Cow`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Which shape a JSON object has, judged by its keys alone.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    message: Option<JsonKind>,
    #[serde(default)]
    subscription: Option<JsonKind>,
}

/// Decodes one delivery.
///
/// `header` looks a request header up by its lower-case name.
///
/// # Errors
/// [`EnvelopeError`] says what was wrong and where; such a request is not from Pub/Sub.
pub fn decode<'h>(header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Message, EnvelopeError> {
    if [MESSAGE_ID_HEADER, PUBLISH_TIME_HEADER, SUBSCRIPTION_HEADER].iter().any(|name| header(name).is_some()) {
        return unwrapped(header, body);
    }
    let cloud_event = header("ce-specversion").is_some() || header("ce-type").is_some();
    let text = std::str::from_utf8(body)
        .map_err(|error| format!("it is not UTF-8 at byte {}", error.valid_up_to()))
        // A derived struct reads an array as well, field by field: not what anyone means.
        .and_then(|text| match text.trim_ascii_start().starts_with('[') {
            true => Err("it is an array".to_owned()),
            false => Ok(text),
        });
    // Nearly every request is a wrapped message, and read in one pass. Only the others are looked at again.
    let mut problem = String::new();
    if let Ok(text) = &text {
        match serde_json::from_str(text) {
            Ok(body) => return wrapped(header, body, cloud_event),
            Err(error) => problem = excerpt(&error.to_string(), PROBLEM_CHARACTERS),
        }
    }
    let keys = text.and_then(|text| {
        serde_json::from_str::<Keys>(text).map_err(|error| excerpt(&error.to_string(), PROBLEM_CHARACTERS))
    });
    match keys {
        Ok(Keys { message: Some(JsonKind::Object), .. }) => Err(EnvelopeError::Malformed { field: "message", problem }),
        Ok(Keys { message: Some(_), subscription: Some(JsonKind::String) }) if !cloud_event => {
            Err(EnvelopeError::Malformed { field: "message", problem: "expected an object".into() })
        }
        Ok(_) => unwrapped(header, body),
        Err(_) if cloud_event => unwrapped(header, body),
        Err(problem) => Err(EnvelopeError::NotADelivery(problem)),
    }
}

fn wrapped<'h>(
    header: impl Fn(&str) -> Option<&'h str>,
    body: WrappedBody<'_>,
    cloud_event: bool,
) -> Result<Message, EnvelopeError> {
    let message = body.message;

    let id = message.message_id.or(message.message_id_snake);
    let id = message_id("message.messageId", id.as_ref().map(|id| &*id.0))?;
    let published = match message.publish_time.or(message.publish_time_snake).filter(|time| !time.0.is_empty()) {
        Some(text) => Some(timestamp("message.publishTime", &text.0)?),
        None => None,
    };
    let data = message.data.map(|data| data.0).unwrap_or_default();
    let data = BASE64
        .decode(data.as_bytes())
        .map_err(|error| EnvelopeError::Malformed { field: "message.data", problem: format!("not base64: {error}") })?;

    let mut decoded = Message {
        shape: Shape::Wrapped,
        id,
        published,
        subscription: body.subscription.and_then(|value| Some(excerpt(value.as_str()?, SUBSCRIPTION_BYTES_MAX))),
        delivery_attempt: body.delivery_attempt.and_then(|value| value.as_u64()?.try_into().ok()),
        data,
    };
    if cloud_event {
        decoded.shape = Shape::Eventarc;
        complete_from_cloud_event(&mut decoded, header)?;
    }
    Ok(decoded)
}

fn unwrapped<'h>(header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Message, EnvelopeError> {
    let published = match header(PUBLISH_TIME_HEADER).filter(|time| !time.is_empty()) {
        Some(text) => Some(timestamp(PUBLISH_TIME_HEADER, text)?),
        None => None,
    };
    let mut decoded = Message {
        shape: Shape::Unwrapped,
        id: message_id(MESSAGE_ID_HEADER, header(MESSAGE_ID_HEADER))?,
        published,
        subscription: header(SUBSCRIPTION_HEADER).map(|name| excerpt(name, SUBSCRIPTION_BYTES_MAX)),
        delivery_attempt: None,
        data: body.to_vec(),
    };
    if header("ce-specversion").is_some() || header("ce-type").is_some() {
        decoded.shape = Shape::Eventarc;
        complete_from_cloud_event(&mut decoded, header)?;
    }
    Ok(decoded)
}

/// For `google.cloud.pubsub` events `ce-id` is the message's id and `ce-time` when it was published.
fn complete_from_cloud_event<'h>(
    message: &mut Message,
    header: impl Fn(&str) -> Option<&'h str>,
) -> Result<(), EnvelopeError> {
    if message.id.is_none() {
        message.id = message_id("ce-id", header("ce-id"))?;
    }
    if let (None, Some(text)) = (message.published, header("ce-time").filter(|time| !time.is_empty())) {
        message.published = Some(timestamp("ce-time", text)?);
    }
    Ok(())
}

fn message_id(field: &'static str, id: Option<&str>) -> Result<Option<String>, EnvelopeError> {
    match id.filter(|id| !id.is_empty()) {
        Some(id) if id.len() > ID_BYTES_MAX => {
            Err(EnvelopeError::Malformed { field, problem: format!("longer than {ID_BYTES_MAX} bytes") })
        }
        id => Ok(id.map(str::to_owned)),
    }
}

/// RFC 3339 with 0 to 9 fractional digits.
fn timestamp(field: &'static str, text: &str) -> Result<Timestamp, EnvelopeError> {
    text.parse().map_err(|_| EnvelopeError::Malformed {
        field,
        problem: format!("expected an RFC 3339 time such as 2026-11-20T09:16:40.380Z, not {:?}", excerpt(text, 40)),
    })
}
