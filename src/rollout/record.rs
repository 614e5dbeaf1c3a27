//! The record: the push that a workload was last restarted for, for each of its images. It is an annotation on the pod
//! template, written in the same PATCH as `restartedAt`.
//!
//! `{"docker.io/library/web:1": {"digest": "sha256:…", "published": "2026-11-20T09:16:40.38Z", "message_id": "7"}}`

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::push::{Push, PushOrder};
use crate::image::Digest;

/// The record, on the pod template.
pub const RECORD_ANNOTATION: &str = "pushroll.dev/pushes";

/// How far ahead of our clock a publish time may be and still have a place in the order of pushes. A later time would
/// shut out every genuine push until then. Clocks that differ by more cost restarts, never a missed push.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The pushes that a workload was restarted for, by the image's normalised `REPOSITORY:TAG`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, RecordedPush>);

/// The last push of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPush {
    /// What that push brought. The pods may have pulled something else: it only says that a look at them is worth it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The publish time of the newest push that we restarted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// The id of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// `restartedAt` as the same PATCH wrote it. While the template has this value, the last restart was ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
}

impl Record {
    /// Reads the annotation. `None` is an empty record.
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

    /// Each image, by its normalised reference, with its last push.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RecordedPush)> {
        self.0.iter().map(|(image, recorded)| (image.as_str(), recorded))
    }

    /// Whether we have written this `restartedAt`.
    pub fn is_of(&self, restarted_at: &str) -> bool {
        self.0.values().any(|recorded| recorded.restarted_at.as_deref() == Some(restarted_at))
    }

    /// The last push of each image that this restart was for.
    pub fn of_restart(&self, restarted_at: &str) -> impl Iterator<Item = (String, RecordedPush)> {
        let of_it = self.0.iter().filter(move |(_, recorded)| recorded.restarted_at.as_deref() == Some(restarted_at));
        of_it.map(|(image, recorded)| (image.clone(), recorded.clone()))
    }

    /// The record after the restart `restarted_at` for `push`, without images that the workload does not run (`runs`). A
    /// push without a publish time keeps the place of the last push in the order.
    #[must_use]
    pub fn with(mut self, push: &Push, restarted_at: &str, runs: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|image, _| runs(image));
        let tag_key = push.image.tag_key().unwrap_or_default();
        let known = self.0.get(tag_key).and_then(RecordedPush::order);
        if push.order().is_some() && push.order() < known {
            return self;
        }
        let recorded = self.0.entry(tag_key.to_owned()).or_default();
        recorded.digest = push.digest.clone();
        if push.published.is_some() {
            (recorded.published, recorded.message_id) = (push.published, push.message_id.clone());
        }
        recorded.restarted_at = Some(restarted_at.to_owned());
        self
    }

    /// The record with the newer push of each image that `other` has.
    #[must_use]
    pub fn not_older_than(mut self, other: &Self) -> Self {
        for (image, theirs) in &other.0 {
            if self.0.get(image).and_then(RecordedPush::order) < theirs.order() {
                self.0.insert(image.clone(), theirs.clone());
            }
        }
        self
    }

    /// The record without the times that cannot be true at `now`, by our clock.
    #[must_use]
    pub fn believed(mut self, now: Timestamp) -> Self {
        for recorded in
            self.0.values_mut().filter(|recorded| recorded.published.is_some_and(|at| !is_believable(at, now)))
        {
            (recorded.published, recorded.message_id) = (None, None);
        }
        self
    }

    /// The annotation's text.
    pub fn encode(&self) -> String {
        // Strings and times: nothing that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether a push can have been published at `published`, if our clock shows `now`.
pub(crate) fn is_believable(published: Timestamp, now: Timestamp) -> bool {
    published.duration_since(now) <= AHEAD_MAX
}

impl RecordedPush {
    /// Its place among the pushes of the same image.
    pub fn order(&self) -> Option<PushOrder<'_>> {
        PushOrder::of(self.published, self.message_id.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(image: &str, received: &str) -> Push {
        Push {
            image: image.parse().unwrap(),
            digest: Some(format!("sha256:{}", "ab".repeat(32)).parse().unwrap()),
            published: "2026-11-20T09:16:40.380123456Z".parse().ok(),
            received: received.parse().unwrap(),
            message_id: Some("7".into()),
            clock_agrees: true,
            waiting_since: None,
        }
    }

    const AT: &str = "2026-11-20T09:16:42Z";
    const WEB: &str = "docker.io/library/web:1";

    #[test]
    fn a_record_is_read_back_and_forgets_images_that_are_gone() {
        let [old, new] = ["old:1", "new:1"].map(|image| push(image, "2026-11-20T09:16:41Z"));
        let (old_key, new_key) = (old.image.tag_key().unwrap(), new.image.tag_key().unwrap());
        let record = Record::default().with(&old, AT, |_| true).with(&new, AT, |key| key != old_key);
        let read = Record::decode(Some(&record.encode())).unwrap();
        assert_eq!(read, record);
        assert!(read.get(old_key).is_none());
        assert_eq!(read.get(new_key).unwrap().order(), new.order());
        assert!(read.is_of(AT) && !read.is_of("2026-11-20T09:16:43Z"));
        assert!(Record::decode(Some("{")).is_err());
        assert_eq!(Record::decode(None).unwrap(), Record::default());
    }

    #[test]
    fn of_two_records_each_image_has_its_newest_push() {
        let of = |image: &str, published: &str| {
            let push = Push { published: published.parse().ok(), ..push(image, "2026-11-20T09:16:41Z") };
            Record::default().with(&push, AT, |_| true)
        };
        let [old, new] = ["2026-11-20T09:16:39Z", "2026-11-20T09:16:40Z"].map(|published| of("web:1", published));
        assert_eq!(new.clone().not_older_than(&old), new);
        assert_eq!(old.not_older_than(&new), new);
        assert_eq!(Record::default().not_older_than(&new), new);
    }

    #[test]
    fn the_order_of_the_newest_push_stays() {
        let first = push("web:1", "2026-11-20T09:16:41Z");
        let by_hand = Push { published: None, message_id: None, ..push("web:1", "2026-11-20T10:00:00Z") };
        let older = Push { published: "2026-11-20T09:16:39Z".parse().ok(), ..first.clone() };
        let record = Record::default().with(&first, AT, |_| true);
        for other in [&by_hand, &older] {
            let record = record.clone().with(other, "2026-11-20T10:00:00Z", |_| true);
            assert_eq!(record.get(WEB).unwrap().order(), first.order());
        }
        assert_eq!(Record::default().with(&by_hand, AT, |_| true).get(WEB).unwrap().order(), None);
    }
}
