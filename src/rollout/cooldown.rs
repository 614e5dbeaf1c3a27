//! The cooldown: the least time between two of our restarts, which the owner of a workload sets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::RESTARTED_AT_ANNOTATION;
use super::field_owners::TemplateOwners;
use crate::clock::parse_duration;
use crate::cluster::WorkloadObject;

/// On a workload: the least time between two of our restarts, such as `10m`.
pub const COOLDOWN_ANNOTATION: &str = "pushroll.dev/cooldown";

/// How long a workload should be left alone, by the API server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cooldown {
    /// The length that its owner wrote.
    pub(super) length: Duration,
    /// Our last restart, to the second.
    pub(super) last: Timestamp,
    /// When it may be restarted again.
    pub(super) due: Timestamp,
}

/// The annotation is no duration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnreadableCooldown;

impl Cooldown {
    /// The cooldown of a workload that has one and that we were the last to restart. A restart by someone else starts
    /// none.
    pub(super) fn of(object: &WorkloadObject) -> Result<Option<Self>, UnreadableCooldown> {
        let Some(text) = object.metadata.annotations.get(COOLDOWN_ANNOTATION) else { return Ok(None) };
        let length = parse_duration(text.trim()).ok_or(UnreadableCooldown)?;
        let Some(ours) = TemplateOwners::of(object).restarted_by_us() else { return Ok(None) };
        // Without the API server's time we take that of our own clock.
        let written = || object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION)?.parse().ok();
        let Some(last) = ours.time.or_else(written) else { return Ok(None) };
        // The API server writes whole seconds: the restart was up to one second later.
        let until_due = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        let until_due = until_due.saturating_add(SignedDuration::from_secs(1));
        Ok(Some(Self { length, last, due: last.saturating_add(until_due).unwrap_or(Timestamp::MAX) }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cooldown(text: &str, managed_fields: Value) -> Result<Option<Cooldown>, UnreadableCooldown> {
        let object = json!({
            "metadata": {"resourceVersion": "7", "uid": "u", "annotations": {COOLDOWN_ANNOTATION: text},
                "managedFields": managed_fields},
            "spec": {"template": {"spec": {},
                "metadata": {"annotations": {RESTARTED_AT_ANNOTATION: "2026-11-20T10:00:30Z"}}}},
        });
        Cooldown::of(&serde_json::from_str(&object.to_string()).unwrap())
    }

    fn written_by(manager: &str) -> Value {
        json!([{"manager": manager, "time": "2026-11-20T10:00:00Z", "fieldsV1": {"f:spec": {"f:template": {
            "f:metadata": {"f:annotations": {format!("f:{RESTARTED_AT_ANNOTATION}"): {}}}}}}}])
    }

    #[test]
    fn it_counts_from_our_own_restart_by_the_api_servers_clock() {
        let due = |text| cooldown(text, written_by("pushroll")).map(|cooldown| cooldown.unwrap().due.to_string());
        assert_eq!(due("10m").unwrap(), "2026-11-20T10:10:01Z");
        assert_eq!(due(" 1h30m ").unwrap(), "2026-11-20T11:30:01Z");
        assert_eq!(due("9999999999h").unwrap(), Timestamp::MAX.to_string());
        for text in ["", "10", "soon", "-5m", "10 parsecs"] {
            assert_eq!(cooldown(text, written_by("pushroll")), Err(UnreadableCooldown), "{text:?}");
        }
        assert_eq!(cooldown("10m", written_by("kubectl-rollout")), Ok(None));
        assert_eq!(cooldown("10m", json!([])), Ok(None));
    }
}
