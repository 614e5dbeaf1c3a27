//! A push as it stands in the ConfigMap, whatever it waits for.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::key_of;
use crate::image::{Digest, ImageRef};
use crate::rollout::push::{Push, PushOrder};

/// A push, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPush {
    /// The image, with the tag that was moved.
    #[serde(serialize_with = "as_written", deserialize_with = "parsed")]
    pub image: ImageRef,
    /// What the tag points to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When it was published, by Pub/Sub's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// The id of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When we received it, by our clock.
    pub received: Timestamp,
    /// Since when it waits, by the API server's clock.
    pub since: Timestamp,
    /// The key under which it was found.
    #[serde(skip)]
    pub(super) found_under: Option<Box<str>>,
}

impl KeptPush {
    pub(super) fn new(push: &Push, since: Timestamp) -> Self {
        Self {
            image: push.image.clone(),
            digest: push.digest.clone(),
            published: push.published,
            message_id: push.message_id.clone(),
            received: push.received,
            since: push.waiting_since.unwrap_or(since),
            found_under: None,
        }
    }

    /// Its key in the ConfigMap, which is the same for each delivery of the push. `target` is what the push waits for.
    pub(super) fn key(&self, prefix: &str, readable: &str, target: &str) -> String {
        if let Some(key) = &self.found_under {
            return key.to_string();
        }
        // Without a publish time each delivery is a push of its own.
        let received = self.published.is_none().then_some(self.received);
        let identity = (self.image.tag_key(), self.published, self.message_id.as_deref(), received);
        key_of(prefix, readable, &format!("{target} {identity:?}"))
    }

    /// Its place among the pushes of the same image.
    pub fn order(&self) -> Option<PushOrder<'_>> {
        PushOrder::of(self.published, self.message_id.as_deref())
    }

    /// As a [`Push`].
    pub(super) fn to_push(&self) -> Push {
        Push {
            image: self.image.clone(),
            digest: self.digest.clone(),
            published: self.published,
            received: self.received,
            message_id: self.message_id.clone(),
            clock_agrees: false,
            waiting_since: Some(self.since),
        }
    }
}

fn as_written<S: Serializer>(image: &ImageRef, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(image.as_written())
}

fn parsed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ImageRef, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
