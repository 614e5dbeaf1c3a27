//! The envelope: a Pub/Sub push in each of its shapes, decoded to a [`Message`].
//!
//! - *wrapped* (the default): `{"message": {"data": BASE64, "messageId", "publishTime", ...}, "subscription"}`;
//! - *unwrapped*: the body is the payload itself; with metadata, the `x-goog-pubsub-*` headers name it;
//! - *CloudEvents*, as Eventarc and brokers send them: in binary mode (`ce-*` headers) the body is as above, in structured
//!   mode (`{"specversion", "id", "time", "data", ...}`) and in a batch of one the data is.
//!
//! Only what cannot be a delivery at all is an error: a nack slows a whole subscription, so a payload
//! that nothing can be done with is for [`super::artifact`] to say.
//!
//! Source: Google's "Push subscriptions" and "Payload unwrapping" pages.

mod cloud_event;
mod error;
mod fields;
mod json_kind;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::excerpt::excerpt;
use cloud_event::{CloudEvent, StructuredEvent};
pub use error::EnvelopeError;
use fields::{base64, id_text, message_id, time_text, timestamp};
use json_kind::{JsonKind, object};

/// Header of an unwrapped message with metadata: its id.
pub const MESSAGE_ID_HEADER: &str = "x-goog-pubsub-message-id";
/// Header of an unwrapped message with metadata: when it was published.
pub const PUBLISH_TIME_HEADER: &str = "x-goog-pubsub-publish-time";
/// Header of an unwrapped message with metadata: the subscription that delivers it.
pub const SUBSCRIPTION_HEADER: &str = "x-goog-pubsub-subscription-name";

/// Content type of a batch of CloudEvents.
const BATCH_TYPE: &str = "application/cloudevents-batch+json";
/// The beginning of the content type of an event in structured mode, and of a batch.
const STRUCTURED_TYPE: &str = "application/cloudevents";
/// What editors of some systems begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// serde_json quotes a value of the wrong type in full, and a body may be megabytes.
const PROBLEM_CHARACTERS: usize = 200;
/// `projects/P/subscriptions/S`: at most 30 and 255 characters.
const SUBSCRIPTION_BYTES_MAX: usize = 512;

/// How a message was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Pub/Sub's default JSON.
    Wrapped,
    /// The payload is the body; the metadata, if any, stands in headers.
    Unwrapped,
    /// Either of these in a CloudEvent, as Eventarc sends it: in binary or structured mode.
    Eventarc,
    /// Not wrapped: the fields of a message that was pulled.
    Pulled,
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
    message_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "message_id")]
    message_id_snake: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "publishTime")]
    publish_time: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "publish_time")]
    publish_time_snake: Option<&'a RawValue>,
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

impl Message {
    /// A message that was pulled from `subscription`. An id that cannot be one of Pub/Sub's counts as absent.
    pub fn pulled(subscription: &str, id: &str, published: Option<Timestamp>, data: Vec<u8>) -> Self {
        Self {
            shape: Shape::Pulled,
            id: message_id("message_id", Some(id)).unwrap_or_default(),
            published,
            subscription: Some(subscription.to_owned()),
            delivery_attempt: None,
            data,
        }
    }
}

/// Decodes one delivery.
///
/// `header` looks a request header up by its lower-case name.
///
/// # Errors
/// [`EnvelopeError`] says what was wrong and where; such a request is not from Pub/Sub.
pub fn decode<'h>(header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Message, EnvelopeError> {
    let content_type = header("content-type").map(|value| value.trim_ascii_start());
    // CloudEvents' HTTP binding, 3: the content type says that an event is in the body, whatever a gateway has copied
    // into headers.
    let is_in_body = content_type.is_some_and(|value| value.starts_with(STRUCTURED_TYPE));
    let event = if is_in_body { None } else { CloudEvent::of_headers(&header) };
    let has_metadata = [MESSAGE_ID_HEADER, PUBLISH_TIME_HEADER, SUBSCRIPTION_HEADER];
    if has_metadata.iter().any(|name| header(name).is_some()) {
        let mut message = unwrapped(body);
        message.id = message_id(MESSAGE_ID_HEADER, header(MESSAGE_ID_HEADER))?;
        message.published = timestamp(PUBLISH_TIME_HEADER, header(PUBLISH_TIME_HEADER))?;
        message.subscription = header(SUBSCRIPTION_HEADER).map(|name| excerpt(name, SUBSCRIPTION_BYTES_MAX));
        return completed(message, event.as_ref());
    }
    let is_batch = content_type.is_some_and(|value| value.starts_with(BATCH_TYPE));
    decode_body(body, event.as_ref(), is_batch)
}

/// Decodes a body without metadata in headers.
fn decode_body(body: &[u8], event: Option<&CloudEvent<'_>>, is_batch: bool) -> Result<Message, EnvelopeError> {
    // With the attributes of a CloudEvent any body is a payload.
    let no_object = |problem: String| match event {
        Some(_) => completed(unwrapped(body), event),
        None => Err(EnvelopeError::NotADelivery(problem)),
    };
    let text = match std::str::from_utf8(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)) {
        Ok(text) => text,
        Err(error) => return no_object(format!("it is not UTF-8 at byte {}", error.valid_up_to())),
    };
    // A derived struct reads an array as well, field by field: not what anyone means.
    if text.trim_ascii_start().starts_with('[') {
        return match StructuredEvent::read_batch(text, is_batch)? {
            Some(structured) if event.is_none() => decode_body(&structured.data, Some(&structured.event), false),
            _ => no_object("it is an array".to_owned()),
        };
    }
    // Nearly every request is a wrapped message, and read in one pass. Only the others are looked at again.
    let problem = match serde_json::from_str(text) {
        Ok(body) => return completed(wrapped(body)?, event),
        Err(error) => excerpt(&error.to_string(), PROBLEM_CHARACTERS),
    };
    match serde_json::from_str::<Keys>(text) {
        Ok(Keys { message: Some(JsonKind::Object), .. }) => Err(EnvelopeError::malformed("message", problem)),
        Ok(Keys { message: Some(_), subscription: Some(JsonKind::String) }) if event.is_none() => {
            Err(EnvelopeError::malformed("message", "expected an object"))
        }
        Ok(_) if event.is_some() => completed(unwrapped(body), event),
        Ok(_) => match StructuredEvent::read(text)? {
            Some(structured) => decode_body(&structured.data, Some(&structured.event), false),
            None => Ok(unwrapped(body)),
        },
        Err(error) => no_object(excerpt(&error.to_string(), PROBLEM_CHARACTERS)),
    }
}

fn wrapped(body: WrappedBody<'_>) -> Result<Message, EnvelopeError> {
    const ID: &str = "message.messageId";
    const TIME: &str = "message.publishTime";
    let message = body.message;
    let (mut id, mut published) = (None, None);
    for value in [message.message_id, message.message_id_snake].into_iter().flatten() {
        if id.is_none() {
            id = message_id(ID, Some(&id_text(ID, value)?))?;
        }
    }
    for value in [message.publish_time, message.publish_time_snake].into_iter().flatten() {
        if published.is_none() {
            published = timestamp(TIME, Some(&time_text(TIME, value)?))?;
        }
    }
    let data = message.data.map(|data| data.0).unwrap_or_default();
    Ok(Message {
        shape: Shape::Wrapped,
        id,
        published,
        subscription: body.subscription.and_then(|value| Some(excerpt(value.as_str()?, SUBSCRIPTION_BYTES_MAX))),
        delivery_attempt: body.delivery_attempt.and_then(|value| value.as_u64()?.try_into().ok()),
        data: base64("message.data", &data)?,
    })
}

/// The body is the payload.
fn unwrapped(body: &[u8]) -> Message {
    let (id, published, subscription) = (None, None, None);
    Message { shape: Shape::Unwrapped, id, published, subscription, delivery_attempt: None, data: body.to_vec() }
}

/// With what the attributes of its CloudEvent, if any, say beyond the message itself.
fn completed(mut message: Message, event: Option<&CloudEvent<'_>>) -> Result<Message, EnvelopeError> {
    let Some(CloudEvent { id: (id_field, id), time: (time_field, time) }) = event else { return Ok(message) };
    message.shape = Shape::Eventarc;
    if message.id.is_none() {
        message.id = message_id(id_field, id.as_deref())?;
    }
    if message.published.is_none() {
        message.published = timestamp(time_field, time.as_deref())?;
    }
    Ok(message)
}
