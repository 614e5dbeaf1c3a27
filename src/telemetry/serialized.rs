//! A value that is serialised once, for every place that it is written to.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The JSON of a value. What is in here is always JSON, on one line: it is made by serialising and in no other way.
#[derive(Clone)]
pub struct Serialized(Bytes);

impl Serialized {
    /// Serialises `value`; `null` if that fails (a map with keys that are no strings).
    pub fn of(value: &impl Serialize) -> Self {
        // Enough for most answers: a text that grows is copied.
        let mut json = Vec::with_capacity(1024);
        match serde_json::to_writer(&mut json, value) {
            Ok(()) => Self(json.into()),
            Err(_) => Self(Bytes::from_static(b"null")),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("null")
    }

    /// The text, to be sent.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

impl fmt::Debug for Serialized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// As the log for people has it: quoted.
impl fmt::Display for Serialized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// It is no error. But a log event hands over texts, numbers and errors, and only an error can be recognised by its type
/// (`logging`): a text that merely looks like JSON never gets into a line unquoted.
impl std::error::Error for Serialized {}

/// Embeds it, in JSON.
impl Serialize for Serialized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        json.serialize(serializer)
    }
}
