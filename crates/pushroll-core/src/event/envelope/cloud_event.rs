//! A CloudEvent around a message: its attributes stand in headers (binary mode) or beside the data (structured mode, a
//! batch of one).
//!
//! Source: CloudEvents' HTTP binding, 3.1 to 3.3, and its JSON format.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::EnvelopeError;
use super::fields::{base64_value, id_text, string_or_json, time_text};

/// What the attributes of a CloudEvent say of the message: for `google.cloud.pubsub` events `id` is the message's id and
/// `time` when it was published. Each is given with its place, for errors.
#[derive(Debug)]
pub(super) struct CloudEvent<'a> {
    pub(super) id: (&'static str, Option<Cow<'a, str>>),
    pub(super) time: (&'static str, Option<Cow<'a, str>>),
}

/// An event in structured mode.
#[derive(Debug)]
pub(super) struct StructuredEvent<'a> {
    pub(super) event: CloudEvent<'a>,
    pub(super) data: Cow<'a, [u8]>,
}

#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    specversion: &'a RawValue,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_base64: Option<&'a RawValue>,
}

impl<'a> CloudEvent<'a> {
    /// The attributes in the headers, if it is an event in binary mode.
    pub(super) fn of_headers<'h: 'a>(header: &impl Fn(&str) -> Option<&'h str>) -> Option<Self> {
        let of = |name: &'static str| (name, header(name).map(Cow::Borrowed));
        let is_event = header("ce-specversion").is_some() || header("ce-type").is_some();
        is_event.then(|| Self { id: of("ce-id"), time: of("ce-time") })
    }
}

impl<'a> StructuredEvent<'a> {
    /// The event in a body; `None` where the body is something else.
    ///
    /// # Errors
    /// It is an event with a field that cannot be read.
    pub(super) fn read(text: &'a str) -> Result<Option<Self>, EnvelopeError> {
        // A derived struct reads an array as well, field by field.
        if !text.trim_ascii_start().starts_with('{') {
            return Ok(None);
        }
        let Ok(structured) = serde_json::from_str::<Structured<'_>>(text) else { return Ok(None) };
        // Written by hand it may be a number.
        if !structured.specversion.get().starts_with(['"', '1']) || structured.specversion.get() == "\"\"" {
            return Ok(None);
        }
        let id = structured.id.map(|id| id_text("id", id)).transpose()?;
        let time = structured.time.map(|time| time_text("time", time)).transpose()?;
        let data = match (structured.data_base64, structured.data) {
            (Some(data), _) => Cow::Owned(base64_value("data_base64", data)?),
            (None, Some(data)) => string_or_json(data),
            (None, None) => Cow::Borrowed(&[][..]),
        };
        Ok(Some(Self { event: CloudEvent { id: ("id", id), time: ("time", time) }, data }))
    }

    /// The one event of a batch; `None` where the body is something else.
    ///
    /// # Errors
    /// It is a batch of no event or of several, or its event has a field that cannot be read.
    pub(super) fn read_batch(text: &'a str, said_to_be_one: bool) -> Result<Option<Self>, EnvelopeError> {
        let Ok(events) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Ok(None) };
        match &events[..] {
            [event] => Self::read(event.get()),
            events if said_to_be_one => {
                let problem = format!("a batch of {} CloudEvents: send each in a request of its own", events.len());
                Err(EnvelopeError::malformed("body", problem))
            }
            _ => Ok(None),
        }
    }
}
