//! The record: which push a workload was last restarted for, for each of its images, as an annotation on the
//! pod template, written in the same PATCH as `restartedAt`.
//!
//! `{"docker.io/library/web:1": {"digest": "sha256:…", "published": "2026-11-20T09:16:40.38Z", "message_id": "7"}}`

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Push;
use crate::image::Digest;

/// Where the record stands, on the pod template.
pub const RECORD_ANNOTATION: &str = "pushroll.dev/pushes";

/// The pushes a workload was restarted for, by the image's normalised `REPOSITORY:TAG`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, RecordedPush>);

/// The last push of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPush {
    /// What the tag pointed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When it was published.
    pub published: Timestamp,
    /// Which message told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// The order of pushes: by publish time, then by message id. Ids are decimal numbers without a fixed length,
/// so a longer one is greater; that any order is kept matters more than which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOrder<'a> {
    published: Timestamp,
    message_id: &'a str,
}

impl Record {
    /// Reads the annotation. `None` is no record; an annotation that someone has spoilt is an error.
    ///
    /// # Errors
    /// The text is not a record.
    pub fn decode(annotation: Option<&str>) -> Result<Self, serde_json::Error> {
        annotation.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }

    /// The last push of an image, by its normalised reference.
    pub fn get(&self, tag_key: &str) -> Option<&RecordedPush> {
        self.0.get(tag_key)
    }

    /// The record with `push` in it, and without images that the workload does not run (`runs` tells).
    #[must_use]
    pub fn with(mut self, tag_key: &str, push: &Push, runs: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|image, _| runs(image));
        let (digest, message_id) = (push.digest.clone(), push.message_id.clone());
        self.0.insert(tag_key.to_owned(), RecordedPush { digest, published: push.published, message_id });
        self
    }

    /// The annotation's text.
    pub fn encode(&self) -> String {
        // String keys, strings and times: there is nothing in it that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl RecordedPush {
    /// What orders it among pushes of the same image.
    pub fn order(&self) -> PushOrder<'_> {
        PushOrder::new(self.published, self.message_id.as_deref())
    }
}

impl<'a> PushOrder<'a> {
    /// Of a push published then, told of by that message.
    pub fn new(published: Timestamp, message_id: Option<&'a str>) -> Self {
        Self { published, message_id: message_id.unwrap_or_default() }
    }
}

impl PartialOrd for PushOrder<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PushOrder<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let id = |order: &Self| (order.message_id.len(), order.message_id.to_owned());
        self.published.cmp(&other.published).then_with(|| id(self).cmp(&id(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(published: &str, id: &'static str) -> PushOrder<'static> {
        PushOrder::new(published.parse().unwrap(), Some(id))
    }

    #[test]
    fn pushes_are_ordered_by_time_then_by_id() {
        assert!(order("2026-11-20T09:16:40.380Z", "9") < order("2026-11-20T09:16:40.381Z", "1"));
        assert!(order("2026-11-20T09:16:40.380Z", "9") < order("2026-11-20T09:16:40.380Z", "10"));
        assert_eq!(order("2026-11-20T09:16:40.380Z", "9"), order("2026-11-20T09:16:40.38Z", "9"));
    }

    #[test]
    fn a_record_is_read_back_and_forgets_images_that_are_gone() {
        let push = Push {
            image: "web:1".parse().unwrap(),
            digest: Some(format!("sha256:{}", "ab".repeat(32)).parse().unwrap()),
            published: "2026-11-20T09:16:40.380123456Z".parse().unwrap(),
            message_id: Some("7".into()),
        };
        let record = Record::default().with("old", &push, |_| true).with("new", &push, |image| image != "old");
        let read = Record::decode(Some(&record.encode())).unwrap();
        assert_eq!(read, record);
        assert!(read.get("old").is_none());
        assert_eq!(read.get("new").unwrap().order(), push.order());
        assert!(Record::decode(Some("{")).is_err());
        assert_eq!(Record::decode(None).unwrap(), Record::default());
    }
}
