//! Conditions of a status: `SetDeploymentCondition` and its like.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::time::timestamp_seconds;

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const AVAILABLE: &str = "Available";

/// A condition as it should be.
pub(super) struct Condition {
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The condition of this type.
pub(super) fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// When a condition was last renewed, and what is added to it.
pub(super) fn updated_at(condition: &Value, seconds: i64) -> Option<Timestamp> {
    let updated: Timestamp = condition["lastUpdateTime"].as_str()?.parse().ok()?;
    updated.checked_add(SignedDuration::from_secs(seconds)).ok()
}

// === impl Condition ===

impl Condition {
    /// Sets it, unless it has this status for this reason already.
    pub(super) fn set(&self, status: &mut Value, now: Timestamp) {
        let is_so = |found: &Value| found["status"] == self.status && found["reason"] == self.reason;
        if !find(status, self.kind).is_some_and(is_so) {
            self.renew(status, now);
        }
    }

    /// Sets it anew, even if only its time changes.
    pub(super) fn renew(&self, status: &mut Value, now: Timestamp) {
        let now = json!(timestamp_seconds(now));
        let before = find(status, self.kind).filter(|found| found["status"] == self.status);
        let transition = before.map_or_else(|| now.clone(), |before| before["lastTransitionTime"].clone());
        let condition = json!({
            "type": self.kind, "status": self.status, "reason": self.reason, "message": self.message,
            "lastUpdateTime": now, "lastTransitionTime": transition,
        });
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|found| found["type"] != self.kind);
        conditions.push(condition);
        status["conditions"] = Value::Array(conditions);
    }
}
