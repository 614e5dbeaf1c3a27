//! Pushes that wait for the end of a cooldown. They are stored on the workload itself, so that they outlive the process.
//!
//! An annotation holds the pushes, and a label marks the workload. Neither counts without the other: `kubectl rollout
//! undo` restores the annotations of an old ReplicaSet, which may hold pushes of long ago, but no labels.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::RESTARTED_AT_ANNOTATION;
use super::push::{Push, PushOrder};
use crate::cluster::WorkloadObject;
use crate::image::{Digest, ImageRef};

/// On the workload's own metadata: the annotation that holds the pushes, and the label to select by.
pub const DEFERRED: &str = "pushroll.dev/deferred";
/// The field manager of the annotation and the label. It is not that of restarts, whose time must stay that of our last
/// change of the pod template.
pub const DEFERRED_FIELD_MANAGER: &str = "pushroll-deferred";

/// The pushes that wait: the newest of each image, by its normalised `REPOSITORY:TAG`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeferredPushes(BTreeMap<String, DeferredPush>);

/// A push that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferredPush {
    /// The image, with the tag that was moved.
    pub image: String,
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
    /// When the workload was due, by the API server's clock, as this was written. For people to read.
    pub due: Timestamp,
    /// `restartedAt` as this was written. Any restart changes it.
    pub restarted_at: String,
}

/// The pushes that wait on a workload.
#[derive(Debug, PartialEq, Eq)]
pub enum Waiting {
    /// There are none.
    Nothing,
    /// The pushes.
    Pushes(DeferredPushes),
    /// The workload has the label, but no annotation that can be read.
    Unreadable,
}

impl DeferredPushes {
    /// Reads the pushes that wait on a workload.
    pub fn of(object: &WorkloadObject) -> Waiting {
        if !object.metadata.labels.contains_key(DEFERRED) {
            return Waiting::Nothing;
        }
        let annotation = object.metadata.annotations.get(DEFERRED);
        match annotation.and_then(|text| serde_json::from_str::<Self>(text).ok()) {
            Some(pushes)
                if !pushes.0.is_empty() && pushes.0.values().all(|push| push.image.parse::<ImageRef>().is_ok()) =>
            {
                Waiting::Pushes(pushes)
            }
            _ => Waiting::Unreadable,
        }
    }

    /// Whether a workload has the annotation or the label, which a restart should remove.
    pub fn is_marked(object: &WorkloadObject) -> bool {
        object.metadata.labels.contains_key(DEFERRED) || object.metadata.annotations.contains_key(DEFERRED)
    }

    /// The push of an image that waits.
    pub fn get(&self, tag_key: &str) -> Option<&DeferredPush> {
        self.0.get(tag_key)
    }

    /// Each image and its push.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DeferredPush)> {
        self.0.iter().map(|(tag_key, push)| (tag_key.as_str(), push))
    }

    /// Adds `push`, which no waiting push covers ([`DeferredPush::covers`]), and drops images that the workload does not
    /// run (`runs`).
    ///
    /// A push without a publish time takes the place in the order of the one that waits already. Both are done with one
    /// restart, and the digest is that of the later one.
    #[must_use]
    pub fn with(mut self, push: &Push, due: Timestamp, object: &WorkloadObject, runs: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|tag_key, _| runs(tag_key));
        let tag_key = push.image.tag_key().unwrap_or_default();
        let waits = self.0.remove(tag_key).filter(|_| push.published.is_none());
        let (published, message_id) = match waits {
            Some(waits) => (waits.published, waits.message_id),
            None => (push.published, push.message_id.clone()),
        };
        let restarted_at = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
        let deferred = DeferredPush {
            image: push.image.as_written().to_string(),
            digest: push.digest.clone(),
            published,
            message_id,
            received: push.received,
            due,
            restarted_at: restarted_at.cloned().unwrap_or_default(),
        };
        self.0.insert(tag_key.to_owned(), deferred);
        self
    }

    /// The annotation's text.
    pub fn encode(&self) -> String {
        // Strings and times: nothing that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl DeferredPush {
    /// Its place among the pushes of the same image.
    pub fn order(&self) -> Option<PushOrder<'_>> {
        PushOrder::of(self.published, self.message_id.as_deref())
    }

    /// Whether the restart that this push waits for is enough for `push` too, so that nothing need be written: `push` is
    /// this one or an older one, or it has no place in the order and brings the same digest.
    pub fn covers(&self, push: &Push) -> bool {
        match (push.order(), self.order()) {
            (Some(order), Some(waits)) => order <= waits,
            (Some(_), None) => false,
            (None, _) => push.digest == self.digest,
        }
    }

    /// Whether anyone has restarted the workload since this was written.
    pub fn is_restarted_since(&self, object: &WorkloadObject) -> bool {
        let now = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
        now.map(String::as_str).unwrap_or_default() != self.restarted_at
    }

    /// As a [`Push`]. It has its digest only within `prompt` of its time: later the tag may have moved on, and the pods
    /// pull something else.
    pub fn push(&self, now: Timestamp, prompt: Duration) -> Option<Push> {
        let lag = now.duration_since(self.published.unwrap_or(self.received));
        let is_prompt = lag <= SignedDuration::try_from(prompt).unwrap_or(SignedDuration::MAX);
        Some(Push {
            image: self.image.parse().ok()?,
            digest: self.digest.clone().filter(|_| is_prompt),
            published: self.published,
            received: self.received,
            message_id: self.message_id.clone(),
        })
    }
}
