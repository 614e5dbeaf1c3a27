//! How far a rollout is, from the workload alone, judged as `kubectl rollout status` does. Pure.
//!
//! Source: Kubernetes, `kubectl/pkg/polymorphichelpers/rollout_status.go`.

#[cfg(test)]
mod tests;

use crate::cluster::WorkloadObject;
use crate::ending::Ending;
use crate::workload::WorkloadKind;

/// How far a rollout is. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has ended.
    Ended(Ending, String),
    /// It goes on when the Deployment is resumed.
    Paused,
    /// It has not ended; the text says what is missing.
    UnderWay(String),
}

/// How far the rollout of a workload is, from the object as it is now.
pub fn progress(kind: WorkloadKind, object: &WorkloadObject) -> Progress {
    if object.metadata.deletion_timestamp.is_some() {
        return Progress::Ended(Ending::Gone, "it is being deleted".to_owned());
    }
    if object.spec.update_strategy.as_ref().is_some_and(|strategy| strategy.kind == "OnDelete") {
        let reason = "its update strategy is OnDelete: a pod is replaced only when somebody deletes it";
        return Progress::Ended(Ending::Unknown, reason.to_owned());
    }
    if object.spec.paused {
        return Progress::Paused;
    }
    if object.status.observed_generation < object.metadata.generation {
        return under_way("its controller has not seen the change yet");
    }
    match kind {
        WorkloadKind::Deployment => deployment(object),
        WorkloadKind::StatefulSet => stateful_set(object),
        WorkloadKind::DaemonSet => daemon_set(object),
    }
}

/// How many pods a workload is to have.
pub fn wanted_pods(kind: WorkloadKind, object: &WorkloadObject) -> i64 {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => object.spec.replicas.unwrap_or(1),
        WorkloadKind::DaemonSet => object.status.desired_number_scheduled,
    }
}

fn deployment(object: &WorkloadObject) -> Progress {
    let status = &object.status;
    if let Some(message) = &status.progress_deadline_exceeded {
        return Progress::Ended(Ending::Failed, format!("it has exceeded its progress deadline: {message}"));
    }
    let wanted = object.spec.replicas.unwrap_or(1);
    if status.updated_replicas < wanted {
        return under_way(format!("{} of {wanted} pods are new", status.updated_replicas));
    }
    if status.replicas > status.updated_replicas {
        return under_way(format!("{} old pods are still there", status.replicas - status.updated_replicas));
    }
    if status.available_replicas < status.updated_replicas {
        return under_way(format!(
            "{} of {} new pods are available",
            status.available_replicas, status.updated_replicas
        ));
    }
    complete(format!("{wanted} of {wanted} pods are new and available"))
}

fn stateful_set(object: &WorkloadObject) -> Progress {
    let status = &object.status;
    let wanted = object.spec.replicas.unwrap_or(1);
    if status.ready_replicas < wanted {
        return under_way(format!("{} of {wanted} pods are ready", status.ready_replicas));
    }
    let rolling_update = object.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling_update.and_then(|rolling_update| rolling_update.partition).unwrap_or(0);
    let to_update = (wanted - partition).max(0);
    if status.updated_replicas < to_update {
        return under_way(format!("{} of {to_update} pods are new", status.updated_replicas));
    }
    if partition > 0 {
        return complete(format!(
            "{to_update} pods are new; its partition keeps the pods below ordinal {partition} as they are"
        ));
    }
    if status.update_revision != status.current_revision {
        return under_way(format!("{} of {wanted} pods are at its new revision", status.updated_replicas));
    }
    complete(format!("{wanted} of {wanted} pods are new and ready"))
}

fn daemon_set(object: &WorkloadObject) -> Progress {
    let status = &object.status;
    let wanted = status.desired_number_scheduled;
    if status.updated_number_scheduled < wanted {
        return under_way(format!("{} of {wanted} pods are new", status.updated_number_scheduled));
    }
    if status.number_available < wanted {
        return under_way(format!("{} of {wanted} new pods are available", status.number_available));
    }
    complete(format!("{wanted} of {wanted} pods are new and available"))
}

fn complete(reason: String) -> Progress {
    Progress::Ended(Ending::Complete, reason)
}

fn under_way(missing: impl Into<String>) -> Progress {
    Progress::UnderWay(missing.into())
}
