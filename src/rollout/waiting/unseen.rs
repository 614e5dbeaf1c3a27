//! A push that waits for a part of the scope, as an entry of the ConfigMap.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::{as_written, key_of, parsed};
use crate::image::{Digest, ImageRef};
use crate::index::Part;
use crate::rollout::push::{Push, PushOrder};

/// The beginning of the key of an [`UnseenPush`].
pub(super) const UNSEEN: &str = "unseen.";

/// A push that waits for a part of the scope: the newest of its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenPush {
    /// The part that could not be seen when the push came.
    #[serde(flatten)]
    pub part: Part,
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

impl UnseenPush {
    /// `push`, as it begins to wait for `part`.
    pub fn new(part: &Part, push: &Push, since: Timestamp) -> Self {
        Self {
            part: part.clone(),
            image: push.image.clone(),
            digest: push.digest.clone(),
            published: push.published,
            message_id: push.message_id.clone(),
            received: push.received,
            since,
            found_under: None,
        }
    }

    /// Its key in the ConfigMap, which is the same for each delivery of the push.
    pub fn key(&self) -> String {
        if let Some(key) = &self.found_under {
            return key.to_string();
        }
        let received = self.published.is_none().then_some(self.received);
        let identity = (self.image.tag_key(), self.published, self.message_id.as_deref(), received);
        let Part { kind, namespace } = &self.part;
        let readable = format!("{}.{}", namespace.as_deref().unwrap_or_default(), kind.lower_case());
        key_of(UNSEEN, readable.trim_start_matches('.'), &format!("{:?} {identity:?}", self.part))
    }

    /// Its place among the pushes of the same image.
    pub fn order(&self) -> Option<PushOrder<'_>> {
        PushOrder::of(self.published, self.message_id.as_deref())
    }

    /// As a [`Push`], without its digest: the tag may have moved on.
    pub fn push(&self) -> Push {
        Push {
            image: self.image.clone(),
            digest: None,
            published: self.published,
            received: self.received,
            message_id: self.message_id.clone(),
            clock_agrees: false,
            waiting_since: Some(self.since),
        }
    }
}
