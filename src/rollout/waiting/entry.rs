//! The entries of the ConfigMap: one JSON value for each key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kept_push::KeptPush;
use super::key::key_of;
use crate::rollout::push::{Push, PushOrder};
use crate::rollout::record::Record;
use crate::workload::WorkloadRef;

/// The beginning of the key of a [`WaitingPush`].
pub(super) const PUSH: &str = "push.";
/// The beginning of the key of a [`KeptRecord`].
pub(super) const RECORD: &str = "record.";
/// How much of a refusal is kept.
const REASON_CHARACTERS: usize = 160;

/// Why a push waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// For the end of the workload's cooldown.
    Cooldown,
    /// For the end of a refusal by admission.
    Denied,
    /// For a part of the scope that we are not permitted to see.
    Unseen,
    /// For the end of a rollout away from its image, which somebody may undo.
    RollingAway,
}

/// A push that waits for one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingPush {
    /// The workload that it should restart.
    #[serde(flatten)]
    pub workload: WorkloadRef,
    /// The push.
    #[serde(flatten)]
    pub push: KeptPush,
    /// Why it waits.
    pub why: Why,
    /// The sentence for people.
    pub reason: String,
    /// When the cooldown ends, by the API server's clock, as this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// The record of a workload whose pod template does not keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRecord {
    /// The workload.
    #[serde(flatten)]
    pub workload: WorkloadRef,
    /// The `restartedAt` that it belongs to; empty where the template keeps none.
    pub restarted_at: String,
    /// What would be in the annotation `pushroll.dev/pushes`.
    pub record: Record,
    /// When it was written, by the API server's clock.
    pub since: Timestamp,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Cooldown, Self::Denied, Self::Unseen, Self::RollingAway];

    /// As in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cooldown => "cooldown",
            Self::Denied => "denied",
            Self::Unseen => "unseen",
            Self::RollingAway => "rolling_away",
        }
    }
}

impl WaitingPush {
    /// `push`, as it begins to wait.
    pub fn new(workload: &WorkloadRef, push: &Push, why: Why, reason: &str, since: Timestamp) -> Self {
        Self {
            workload: workload.clone(),
            push: KeptPush::new(push, since),
            why,
            reason: reason.chars().take(REASON_CHARACTERS).collect(),
            due: None,
        }
    }

    /// Its key in the ConfigMap, which is the same for each delivery of the push.
    pub fn key(&self) -> String {
        self.push.key(PUSH, &readable(&self.workload), &self.workload.to_string())
    }

    /// Its place among the pushes of the same image.
    pub fn order(&self) -> Option<PushOrder<'_>> {
        self.push.order()
    }

    /// Whether it is a push of the image that has this normalised reference.
    pub fn is_of(&self, tag_key: &str) -> bool {
        self.push.image.tag_key() == Some(tag_key)
    }

    /// Whether the restart that it waits for is enough for `push`, too: `push` is this one or an older one of its image, or
    /// it has no place in the order and brings the same digest.
    pub fn covers(&self, push: &Push) -> bool {
        self.push.image.tag_key() == push.image.tag_key()
            && match (push.order(), self.order()) {
                (Some(order), Some(waits)) => order <= waits,
                (Some(_), None) => false,
                (None, _) => push.digest == self.push.digest,
            }
    }

    /// Whether `push` makes this one unnecessary: it is a newer one of the image, or neither has a place in the order.
    pub fn is_superseded_by(&self, push: &Push) -> bool {
        self.push.image.tag_key() == push.image.tag_key()
            && self.order().is_some() == push.order().is_some()
            && !self.covers(push)
    }

    /// As a [`Push`].
    pub fn to_push(&self) -> Push {
        self.push.to_push()
    }
}

impl KeptRecord {
    /// Its key in the ConfigMap: one for each workload.
    pub fn key(&self) -> String {
        key_of(RECORD, &readable(&self.workload), &self.workload.to_string())
    }
}

fn readable(workload: &WorkloadRef) -> String {
    let WorkloadRef { namespace, kind, name } = workload;
    format!("{namespace}.{}.{name}", kind.lower_case())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WorkloadKind;

    fn push(published: Option<&str>, id: &str) -> Push {
        Push {
            image: "nginx:1".parse().unwrap(),
            digest: Some(format!("sha256:{}", "ab".repeat(32)).parse().unwrap()),
            published: published.map(|published| published.parse().unwrap()),
            received: "2026-11-20T09:16:41Z".parse().unwrap(),
            message_id: Some(id.to_owned()),
            clock_agrees: true,
            waiting_since: None,
        }
    }

    fn waiting(name: &str, push: &Push) -> WaitingPush {
        let workload = WorkloadRef::new("n", WorkloadKind::StatefulSet, name);
        WaitingPush::new(&workload, push, Why::Denied, "frozen", "2026-11-20T09:16:42Z".parse().unwrap())
    }

    #[test]
    fn each_push_of_each_workload_has_a_key_that_the_api_accepts() {
        let first = push(Some("2026-11-20T09:16:40Z"), "7");
        let second = push(Some("2026-11-20T09:16:40Z"), "8");
        let long = "w".repeat(253);
        let keys = [
            waiting("w", &first).key(),
            waiting("w", &second).key(),
            waiting("v", &first).key(),
            waiting("w", &push(None, "7")).key(),
            waiting(&long, &first).key(),
            waiting(&format!("{long}2"), &first).key(),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
        assert!(
            keys.iter()
                .all(|key| key.len() <= 253 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)))
        );
        assert!(keys[0].starts_with("push.n.statefulset.w."), "{}", keys[0]);
        let mut again = waiting("w", &first);
        again.push.since = "2026-11-21T09:16:42Z".parse().unwrap();
        assert_eq!(again.key(), keys[0]);
    }

    #[test]
    fn a_push_is_read_back() {
        let waits = waiting("w", &push(Some("2026-11-20T09:16:40Z"), "7"));
        let text = serde_json::to_string(&waits).unwrap();
        assert_eq!(serde_json::from_str::<WaitingPush>(&text).unwrap(), waits);
        assert!(text.contains(r#""namespace":"n","kind":"StatefulSet","name":"w""#), "{text}");
    }

    #[test]
    fn a_newer_push_supersedes_and_an_older_one_is_covered() {
        let [old, new] = ["2026-11-20T09:16:40Z", "2026-11-20T09:16:41Z"].map(|at| push(Some(at), "7"));
        assert!(waiting("w", &old).is_superseded_by(&new) && !waiting("w", &new).is_superseded_by(&old));
        assert!(waiting("w", &new).covers(&old) && waiting("w", &new).covers(&new) && !waiting("w", &old).covers(&new));
        let unordered = push(None, "7");
        assert!(!waiting("w", &unordered).is_superseded_by(&new) && !waiting("w", &new).is_superseded_by(&unordered));
        assert!(waiting("w", &new).covers(&unordered), "the same digest");
    }
}
