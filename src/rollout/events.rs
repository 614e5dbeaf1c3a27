//! Kubernetes Events, which the owner of a workload sees in `kubectl describe`.
//!
//! They are written only for what would otherwise go unnoticed: a restart that admission refuses. A restart that worked
//! shows itself, and an Event for each would double the writes of a push.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::{FIELD_MANAGER, Push};
use crate::cluster::{Cluster, WorkloadObject};
use crate::workload::WorkloadRef;

/// Time limit of writing an Event.
const LIMIT: Duration = Duration::from_secs(5);
/// The API's limit on the size of a note (Kubernetes: `events.k8s.io/v1`, 1 kB).
const NOTE_BYTES_MAX: usize = 1024;

/// Writes Events, in the background.
#[derive(Clone)]
pub(super) struct EventWriter {
    recorder: Recorder,
}

impl EventWriter {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
        Self { recorder: Recorder::new(cluster.client(), reporter) }
    }

    /// Writes that the API server refuses to restart this workload.
    pub(super) fn denied(&self, workload: &WorkloadRef, object: &WorkloadObject, push: &Push, reason: &str) {
        let mut note = format!("not restarted yet for the push of {}: {reason}", push.image);
        while note.len() > NOTE_BYTES_MAX {
            note.pop();
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "RestartDenied".to_owned(),
            note: Some(note),
            action: "Restart".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some(workload.kind.as_str().to_owned()),
            namespace: Some(workload.namespace.to_string()),
            name: Some(workload.name.to_string()),
            uid: Some(object.metadata.uid.clone()),
            ..ObjectReference::default()
        };
        let recorder = self.recorder.clone();
        let workload = workload.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(LIMIT, recorder.publish(&event, &regarding)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%workload, "the Event was not written: {error}"),
                Err(_) => tracing::warn!(%workload, "the Event was not written in time"),
            }
        });
    }
}

impl std::fmt::Debug for EventWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventWriter").finish_non_exhaustive()
    }
}
