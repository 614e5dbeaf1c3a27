//! Rollouts, as the API server shows them: the status of a workload, and its pods.

use serde_json::{Value, json};

use super::Model;
use super::workload::Workload;

impl Model {
    /// The old pods of a workload are gone, if it is not paused.
    pub fn rolls_out(&mut self, name: &str) {
        if let Some(workload) = self.workloads.get_mut(name).filter(|workload| !workload.pods.pulls_on_resume) {
            workload.complete = workload.revisions.len().saturating_sub(1);
        }
    }

    /// A workload as a GET shows it: with its status.
    pub fn shown(&self, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let Some(workload) = self.workloads.get(name) else { return object };
        let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
        let pods = object["spec"]["replicas"].as_i64().unwrap_or(1);
        object["status"] = match workload.is_rolled_out() {
            false => json!({"observedGeneration": generation - 1}),
            true => json!({
                "observedGeneration": generation, "replicas": pods, "updatedReplicas": pods, "readyReplicas": pods,
                "availableReplicas": pods, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1,
                "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1,
            }),
        };
        object
    }

    /// The pods that its selector finds: one of each revision whose pods are not gone.
    pub fn pods(&self, name: &str) -> Vec<Value> {
        let Some(workload) = self.workloads.get(name) else { return Vec::new() };
        if workload.object["spec"]["replicas"] == 0 {
            return Vec::new();
        }
        let alive = workload.revisions.iter().skip(workload.complete).enumerate();
        let pods = alive.map(|(number, revision)| {
            let pulled = || revision.pulled.iter().enumerate();
            let containers = pulled().map(|(number, (image, _))| json!({"name": format!("c{number}"), "image": image}));
            let statuses = pulled().map(|(number, (image, (digest, _)))| {
                let repository = image.rsplit_once(':').map_or(&**image, |(repository, _)| repository);
                json!({"name": format!("c{number}"), "imageID": format!("{repository}@{digest}")})
            });
            let created = format!("{:.0}", revision.created);
            json!({
                "metadata": {"name": format!("{name}-{number}"), "creationTimestamp": created},
                "spec": {"containers": containers.collect::<Vec<_>>()},
                "status": {"phase": "Running", "containerStatuses": statuses.collect::<Vec<_>>()},
            })
        });
        pods.collect()
    }
}

impl Workload {
    fn is_rolled_out(&self) -> bool {
        self.complete + 1 == self.revisions.len() && !self.pods.pulls_on_resume
    }
}
