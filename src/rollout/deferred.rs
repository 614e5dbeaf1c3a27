//! Pushes that wait for the end of a cooldown: on the workload itself, so that nothing is lost with a process.
//!
//! An annotation says what waits, a label that something does. Both count or neither: `kubectl rollout undo` puts the
//! annotations of an old ReplicaSet back, a deferral of long ago among them, but no labels.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::push::{Push, PushOrder};
use super::RESTARTED_AT_ANNOTATION;
use crate::cluster::WorkloadObject;
use crate::image::{Digest, ImageRef};

/// On the workload's own metadata: the annotation that says what waits, and the label to select by.
pub const DEFERRED: &str = "pushroll.dev/deferred";
/// What we write and remove it as. Not what we restart as: its time says when we last touched the pod template.
pub const DEFERRED_FIELD_MANAGER: &str = "pushroll-deferred";

/// What waits, by the image's normalised `REPOSITORY:TAG`: the newest push of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeferredPushes(BTreeMap<String, DeferredPush>);

/// A push that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferredPush {
    /// The tag that was moved.
    pub image: String,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When, by Pub/Sub's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// Which message told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When we received it, by our clock.
    pub received: Timestamp,
    /// When it may be done, by the API server's clock, as of when this was written: for people to read.
    pub due: Timestamp,
    /// `restartedAt` at that time: who restarts meanwhile changes it.
    pub restarted_at: String,
}

/// What a workload says of pushes that wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing.
    Nothing,
    /// These.
    Pushes(DeferredPushes),
    /// It has the label, and no annotation that can be read.
    Unreadable,
}

impl DeferredPushes {
    /// What waits at a workload.
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

    /// Whether a workload has anything of it that a restart should take away.
    pub fn is_marked(object: &WorkloadObject) -> bool {
        object.metadata.labels.contains_key(DEFERRED) || object.metadata.annotations.contains_key(DEFERRED)
    }

    /// What waits for an image.
    pub fn get(&self, tag_key: &str) -> Option<&DeferredPush> {
        self.0.get(tag_key)
    }

    /// Each image and what waits for it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DeferredPush)> {
        self.0.iter().map(|(tag_key, push)| (tag_key.as_str(), push))
    }

    /// With `push`, which [`DeferredPush::covers`] not; without images that the workload does not run (`runs` tells).
    ///
    /// A push without a publish time keeps the place in the order of the one that waits already: both are done with
    /// one restart, and the digest is the later one's.
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
        // String keys, strings and times: there is nothing in it that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl DeferredPush {
    /// What orders it among pushes of the same image.
    pub fn order(&self) -> Option<PushOrder<'_>> {
        PushOrder::of(self.published, self.message_id.as_deref())
    }

    /// Whether the restart that this waits for does for `push` as well, with nothing to write: it is this one, or older;
    /// or it has no place in the order and brings nothing else.
    pub fn covers(&self, push: &Push) -> bool {
        match (push.order(), self.order()) {
            (Some(order), Some(waits)) => order <= waits,
            (Some(_), None) => false,
            (None, _) => push.digest == self.digest,
        }
    }

    /// Whether somebody has restarted the workload since this was written.
    pub fn is_restarted_since(&self, object: &WorkloadObject) -> bool {
        let now = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
        now.map(String::as_str).unwrap_or_default() != self.restarted_at
    }

    /// As a push again. Its digest is what the pods pull only if it is carried out soon: the tag may have moved on.
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
