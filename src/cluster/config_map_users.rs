//! Which ConfigMaps the objects of a namespace name: what runs there, and what may run again.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde_json::Value;

use super::error::ApiError;
use super::metrics::Resource;
use super::pages::{Page, PageQuery};
use super::request::Cluster;

/// All that makes pods from a template, and pods themselves: pods of an older revision, and pods without a controller.
const USERS: [(Resource, &str); 7] = [
    (Resource::Deployments, "/apis/apps/v1"),
    (Resource::StatefulSets, "/apis/apps/v1"),
    (Resource::DaemonSets, "/apis/apps/v1"),
    (Resource::ReplicaSets, "/apis/apps/v1"),
    (Resource::Pods, "/api/v1"),
    (Resource::Jobs, "/apis/batch/v1"),
    (Resource::CronJobs, "/apis/batch/v1"),
];

impl Cluster {
    /// Those of `names` that an object of the namespace has in its `spec`, whatever for. What has finished needs none.
    ///
    /// # Errors
    /// One of the LISTs has failed, and it is not known which are used.
    pub async fn config_maps_in_use(
        &self,
        namespace: &str,
        names: &BTreeSet<&str>,
    ) -> Result<BTreeSet<String>, ApiError> {
        let mut used = BTreeSet::new();
        for (resource, group) in USERS {
            let collection = format!("{group}/namespaces/{namespace}/{}", resource.as_str());
            let listed = self
                .each_page(resource, &collection, PageQuery::ALL, |page| {
                    let Page { metadata, items } = serde_json::from_slice::<Page<Value>>(page)?;
                    items
                        .iter()
                        .filter(|item| !has_finished(item) && !is_of_deployment(item))
                        .for_each(|item| find(&item["spec"], names, &mut used));
                    Ok::<ListMeta, _>(metadata)
                })
                .await;
            match listed {
                // A cluster that does not know the kind has none of it. Of a whole group that it does not know it says so in
                // plain text.
                Ok(()) | Err(ApiError::NotFound(_) | ApiError::Failed { code: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(used)
    }
}

/// Whether it is a revision of a Deployment: its pods are looked at themselves, and it may be gone at any rollout.
fn is_of_deployment(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let is_deployment = |owner: &Value| owner["controller"] == true && owner["kind"] == "Deployment";
    owners.into_iter().flatten().any(is_deployment)
}

/// Whether a pod or a Job has ended for good.
fn has_finished(object: &Value) -> bool {
    let is_over = |condition: &Value| {
        condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
    };
    let phase = &object["status"]["phase"];
    let conditions = object["status"]["conditions"].as_array();
    phase == "Succeeded" || phase == "Failed" || conditions.into_iter().flatten().any(is_over)
}

/// Every text of `names` in `value`: a volume, a source of one, or a variable may name a ConfigMap.
fn find(value: &Value, names: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if names.contains(text.as_str()) => {
            found.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| find(value, names, found)),
        Value::Object(members) => members.values().for_each(|value| find(value, names, found)),
        _ => {}
    }
}
