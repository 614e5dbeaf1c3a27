//! The Events of a restart, on the workload: `Restarted`, and how its rollout has ended.
//!
//! The name of an Event is made from what it is about. So it exists once, however many replicas report it, and however
//! often.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use crate::rollout::FIELD_MANAGER;
use crate::rollout::waiting::hash_of;
use crate::workload::WorkloadRef;

/// The API's limit on the size of a note (Kubernetes: `pkg/apis/core/validation/events.go`).
const NOTE_BYTES_MAX: usize = 1024;
/// The API's limit on the size of a reporting instance (in the same place).
const INSTANCE_CHARACTERS: usize = 128;
/// Characters of the workload's name that the name of an Event has. The API allows 253 in all.
const NAME_CHARACTERS: usize = 200;

/// What an Event says.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) is_warning: bool,
    /// Such as `RolloutComplete`.
    pub(super) reason: &'static str,
    pub(super) note: String,
    /// What makes it one Event: the restart and the push.
    pub(super) identity: String,
}

/// The Event of `report` on a workload, at `now`.
pub(super) fn event(workload: &WorkloadRef, uid: &str, report: &Report, instance: &str, now: Timestamp) -> Event {
    let Report { is_warning, reason, note, identity } = report;
    let mut note = note.clone();
    while note.len() > NOTE_BYTES_MAX {
        note.pop();
    }
    let namespace = Some(workload.namespace.to_string());
    let regarding = ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some(workload.kind.as_str().to_owned()),
        namespace: namespace.clone(),
        name: Some(workload.name.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    let name = name(&workload.name, &format!("{uid} {reason} {identity}"));
    Event {
        metadata: ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(instance.chars().take(INSTANCE_CHARACTERS).collect()),
        action: Some("Restart".to_owned()),
        reason: Some((*reason).to_owned()),
        regarding: Some(regarding),
        note: Some(note),
        type_: Some(if *is_warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// `WORKLOAD.HASH`
fn name(workload: &str, identity: &str) -> String {
    let readable: String = workload.chars().take(NAME_CHARACTERS).collect();
    format!("{}.{}", readable.trim_end_matches(['.', '-']), hash_of(identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WorkloadKind;

    #[test]
    fn one_thing_has_one_name_that_the_api_accepts() {
        let of = |workload: &str, uid, identity: &str| {
            let workload = WorkloadRef::new("shop", WorkloadKind::Deployment, workload);
            let report = Report {
                is_warning: false,
                reason: "RolloutComplete",
                note: "é".repeat(2000),
                identity: identity.to_owned(),
            };
            event(&workload, uid, &report, &"p".repeat(200), Timestamp::UNIX_EPOCH)
        };
        let name = |event: Event| event.metadata.name.unwrap();
        assert_eq!(name(of("web", "u", "7")), name(of("web", "u", "7")));
        let long = format!("{}-{}", "w".repeat(199), "v".repeat(50));
        let names = [of("web", "u", "7"), of("web", "v", "7"), of("web", "u", "8"), of(&long, "u", "7")].map(name);
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        let is_fine = |name: &String| name.len() <= 253 && !name.contains("-.");
        assert!(names.iter().all(is_fine), "{names:?}");
        assert!(of("web", "u", "7").note.unwrap().len() <= 1024);
        assert!(of("web", "u", "7").reporting_instance.unwrap().len() <= 128);
    }
}
