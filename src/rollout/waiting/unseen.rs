//! A push that waits for a part of the scope, as an entry of the ConfigMap.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kept_push::KeptPush;
use crate::index::Part;
use crate::rollout::push::Push;

/// The beginning of the key of an [`UnseenPush`].
pub(super) const UNSEEN: &str = "unseen.";

/// A push that waits for a part of the scope: the newest of its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenPush {
    /// The part that could not be seen when the push came.
    #[serde(flatten)]
    pub part: Part,
    /// The push.
    #[serde(flatten)]
    pub push: KeptPush,
}

impl UnseenPush {
    /// `push`, as it begins to wait for `part`.
    pub fn new(part: &Part, push: &Push, since: Timestamp) -> Self {
        Self { part: part.clone(), push: KeptPush::new(push, since) }
    }

    /// Its key in the ConfigMap, which is the same for each delivery of the push.
    pub fn key(&self) -> String {
        let Part { kind, namespace } = &self.part;
        let readable = format!("{}.{}", namespace.as_deref().unwrap_or_default(), kind.lower_case());
        self.push.key(UNSEEN, readable.trim_start_matches('.'), &format!("{:?}", self.part))
    }

    /// As a [`Push`].
    pub fn to_push(&self) -> Push {
        self.push.to_push()
    }
}
