//! The fields of a message: the id, the publish time and the data. Pub/Sub writes them in one way; what people write by
//! hand is read where it can mean one thing only.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::error::EnvelopeError;
use crate::excerpt::excerpt;

/// What Pub/Sub encodes with is the standard alphabet, padded; hand-written replays often lack the padding.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Pub/Sub's ids are numbers of some twenty digits; ours go into the record on a pod template.
const ID_BYTES_MAX: usize = 256;

/// A string. An id is also read as a whole number, with all its digits: such a number may be too long for any type of
/// number.
pub(super) fn id_text<'a>(field: &'static str, value: &'a RawValue) -> Result<Cow<'a, str>, EnvelopeError> {
    let json = value.get();
    if json.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Cow::Borrowed(json));
    }
    string(json).ok_or_else(|| {
        let problem = format!("expected a string or a whole number, not {}", excerpt(json, 40));
        EnvelopeError::malformed(field, problem)
    })
}

/// A string that holds a time.
pub(super) fn time_text<'a>(field: &'static str, value: &'a RawValue) -> Result<Cow<'a, str>, EnvelopeError> {
    let json = value.get();
    string(json).ok_or_else(|| {
        let problem = format!("expected a string with an RFC 3339 time, not {}", excerpt(json, 40));
        EnvelopeError::malformed(field, problem)
    })
}

/// The content of a string, or any other value as JSON.
pub(super) fn string_or_json(value: &RawValue) -> Cow<'_, [u8]> {
    match string(value.get()) {
        Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
        Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        None => Cow::Borrowed(value.get().as_bytes()),
    }
}

fn string(json: &str) -> Option<Cow<'_, str>> {
    // serde would copy a bare `Cow`.
    match serde_json::from_str::<&str>(json) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

/// An id; empty is as absent.
pub(super) fn message_id(field: &'static str, id: Option<&str>) -> Result<Option<String>, EnvelopeError> {
    match id.map(str::trim_ascii).filter(|id| !id.is_empty()) {
        Some(id) if id.len() > ID_BYTES_MAX => {
            Err(EnvelopeError::malformed(field, format!("longer than {ID_BYTES_MAX} bytes")))
        }
        id => Ok(id.map(str::to_owned)),
    }
}

/// RFC 3339 with 0 to 9 fractional digits; empty is as absent.
pub(super) fn timestamp(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, EnvelopeError> {
    let Some(text) = text.map(str::trim_ascii).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let text = excerpt(text, 40);
        let problem = format!("expected an RFC 3339 time such as 2026-11-20T09:16:40.380Z, not {text:?}");
        EnvelopeError::malformed(field, problem)
    })
}

/// A string that holds base64.
pub(super) fn base64_value(field: &'static str, value: &RawValue) -> Result<Vec<u8>, EnvelopeError> {
    let text = string(value.get());
    let text = text.ok_or_else(|| EnvelopeError::malformed(field, "expected a string in base64"))?;
    base64(field, &text)
}

/// Base64 in either alphabet, in lines or in one, padded or not.
pub(super) fn base64(field: &'static str, text: &str) -> Result<Vec<u8>, EnvelopeError> {
    BASE64.decode(text.as_bytes()).or_else(|_| {
        let standard = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        });
        BASE64
            .decode(standard.collect::<Vec<u8>>())
            .map_err(|error| EnvelopeError::malformed(field, format!("not base64: {error}")))
    })
}
