//! The payload: an Artifact Registry (or Container Registry) event, decoded to an [`ImagePush`] or to
//! why there is nothing to do.
//!
//! `{"action": "INSERT", "digest": "HOST/PROJECT/REPO/IMAGE@sha256:…", "tag": "HOST/PROJECT/REPO/IMAGE:TAG"}`,
//! the tag only where one moved. Source: Google's "Configure Pub/Sub notifications" for Artifact Registry.
//!
//! The topic `gcr` belongs to a whole project: charts, signatures and images nobody runs arrive on it
//! too, and anyone may publish junk. None of that is an error.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;
use crate::image::{Digest, ImageRef};

/// A tag that was moved to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePush {
    /// The tagged reference, as the registry wrote it.
    pub image: ImageRef,
    /// What the tag points to now.
    pub digest: Option<Digest>,
    /// What is odd about the event.
    pub warning: Option<String>,
}

/// Why a message leads to nothing: for good, so that it must not come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotForUs {
    /// For programs.
    pub code: NotForUsCode,
    /// For people: a sentence.
    pub reason: String,
}

/// The closed set of reasons why a message leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotForUsCode {
    /// There is no payload.
    Empty,
    /// The payload is not a JSON object in UTF-8.
    NotJson,
    /// A JSON object, but not a registry's event.
    NotARegistryEvent,
    /// A tag or an image was deleted.
    Deleted,
    /// An image was pushed without a tag, or one by one for a multi-arch index.
    Untagged,
    /// A signature, an attestation or a bill of materials, stored as a tag beside its image.
    Signature,
    /// An action that pushroll does not know.
    UnknownAction,
    /// The event names something that is no image reference.
    InvalidReference,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    action: serde_json::Value,
    #[serde(default)]
    tag: serde_json::Value,
    #[serde(default)]
    digest: serde_json::Value,
}

/// Decodes the payload of a message.
///
/// # Errors
/// [`NotForUs`], if nothing can ever be done with it.
pub fn decode(data: &[u8]) -> Result<ImagePush, NotForUs> {
    use NotForUsCode::*;
    let not_for_us = |code, reason: String| NotForUs { code, reason };
    if data.is_empty() {
        return Err(not_for_us(Empty, "the message has no payload".into()));
    }
    let text = std::str::from_utf8(data)
        // What editors of some systems begin a file with.
        .map(|text| text.trim_ascii_start().strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|error| not_for_us(NotJson, format!("the payload is not UTF-8 at byte {}", error.valid_up_to())))?;
    // A derived struct reads an array as well, field by field: not what anyone means.
    if text.trim_ascii_start().starts_with('[') {
        return Err(not_for_us(NotJson, "the payload is an array, not a JSON object".into()));
    }
    let event: Event = serde_json::from_str(text)
        .map_err(|error| not_for_us(NotJson, format!("the payload is no JSON object: {}", quoted(&error))))?;

    match event.action.as_str() {
        Some("INSERT") => {}
        Some("DELETE") => {
            return Err(not_for_us(Deleted, "a tag or an image was deleted: what runs keeps running".into()));
        }
        Some(action) => {
            let action = excerpt(action, 40);
            return Err(not_for_us(UnknownAction, format!("the action is {action:?}; only INSERT rolls workloads")));
        }
        None => {
            let reason = "the payload has no \"action\": it is not an event of Artifact Registry";
            return Err(not_for_us(NotARegistryEvent, reason.into()));
        }
    }
    let tag = match &event.tag {
        serde_json::Value::Null => {
            return Err(not_for_us(Untagged, "an image was pushed without a tag: no workload follows it".into()));
        }
        serde_json::Value::String(tag) => tag,
        _ => return Err(not_for_us(InvalidReference, "\"tag\" is not a string".into())),
    };
    let image: ImageRef = tag.parse().map_err(|error| not_for_us(InvalidReference, format!("\"tag\": {error}")))?;
    if image.digest().is_some() {
        return Err(not_for_us(InvalidReference, format!("\"tag\": {image} names a digest, not a tag")));
    }
    if image.tag().is_some_and(is_signature) {
        let reason = format!("{image} is a signature or an attestation of an image, not an image");
        return Err(not_for_us(Signature, reason));
    }
    // The tag says what was pushed; a digest that cannot be read must not lose it.
    let digest = decode_digest(&event.digest);
    let warning = digest.as_ref().err().cloned();
    Ok(ImagePush { image, digest: digest.unwrap_or_default(), warning })
}

/// serde_json quotes a value of the wrong type in full, and a message may be megabytes.
fn quoted(error: &serde_json::Error) -> String {
    excerpt(&error.to_string(), 200)
}

/// `"digest"` is a full reference; a bare digest in a hand-written event will do.
fn decode_digest(value: &serde_json::Value) -> Result<Option<Digest>, String> {
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => match text.rsplit_once('@') {
            Some((_, digest)) => digest.parse(),
            None => text.parse(),
        }
        .map(Some)
        .map_err(|error: crate::image::DigestError| format!("\"digest\": {error}")),
        _ => Err("\"digest\" is not a string".into()),
    }
}

/// cosign's tags: `sha256-HEX` and then nothing, `.sig`, `.att` or `.sbom` (sigstore/cosign, `SIGNATURE_SPEC.md`).
fn is_signature(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix("sha256-") else { return false };
    let hex_end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    hex_end == 64 && matches!(&rest[hex_end..], "" | ".sig" | ".att" | ".sbom")
}
