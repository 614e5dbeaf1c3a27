//! A JSON value of whatever type: the expected one is read, any other is named by its type and passed over.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value of another type than the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
    /// JSON by its grammar, and yet no value: a number that is out of range, half of a surrogate pair.
    Unreadable,
}

/// A key, borrowed where it holds no escapes, which serde does for a `Cow` only with `#[serde(borrow)]`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Key<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What is made of a value.
pub(super) trait Expect<'de>: Sized {
    type Value;

    fn otherwise(self, found: Found) -> Self::Value;

    fn text(self, _text: Cow<'de, str>) -> Self::Value {
        self.otherwise(Found::Text)
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.otherwise(Found::List))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.otherwise(Found::Object))
    }
}

/// Reads any value as it is expected.
pub(super) struct Any<E>(pub(super) E);

impl<E> Any<E> {
    /// Of a value that was taken out of the document: it cannot spoil the rest.
    pub(super) fn read<'de>(self, raw: &'de RawValue) -> serde_json::Result<E::Value>
    where
        E: Expect<'de>,
    {
        self.deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
    }
}

impl<'de, E: Expect<'de>> DeserializeSeed<'de> for Any<E> {
    type Value = E::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<E::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, E: Expect<'de>> Visitor<'de> for Any<E> {
    type Value = E::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<R: Error>(self) -> Result<E::Value, R> {
        Ok(self.0.otherwise(Found::Null))
    }

    fn visit_bool<R: Error>(self, _: bool) -> Result<E::Value, R> {
        Ok(self.0.otherwise(Found::Boolean))
    }

    fn visit_i64<R: Error>(self, _: i64) -> Result<E::Value, R> {
        Ok(self.0.otherwise(Found::Number))
    }

    fn visit_u64<R: Error>(self, _: u64) -> Result<E::Value, R> {
        Ok(self.0.otherwise(Found::Number))
    }

    fn visit_f64<R: Error>(self, _: f64) -> Result<E::Value, R> {
        Ok(self.0.otherwise(Found::Number))
    }

    fn visit_borrowed_str<R: Error>(self, text: &'de str) -> Result<E::Value, R> {
        Ok(self.0.text(Cow::Borrowed(text)))
    }

    fn visit_str<R: Error>(self, text: &str) -> Result<E::Value, R> {
        Ok(self.0.text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<E::Value, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<E::Value, A::Error> {
        self.0.object(object)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Unreadable => "a value that cannot be read",
        })
    }
}
