//! A workload as a watch keeps it: encoded, which takes a third of the memory. A watch keeps thousands of objects, and few
//! of them are looked at at a time.

use std::sync::Arc;

use super::error::ApiError;
use super::workload_object::WorkloadObject;

/// A workload, encoded.
#[derive(Debug, Clone)]
pub struct WatchedObject {
    encoded: Arc<[u8]>,
    followed: Option<Arc<FollowedVersion>>,
}

/// What following compares, of a workload that has its label.
#[derive(Debug)]
pub struct FollowedVersion {
    /// The value of the label.
    pub label: String,
    /// The object's resourceVersion.
    pub resource_version: String,
}

impl WatchedObject {
    /// The object, encoded.
    ///
    /// # Errors
    /// [`ApiError::Unreadable`]: it would not be read back.
    pub fn new(object: &WorkloadObject) -> Result<Self, ApiError> {
        let encoded = postcard::to_extend(object, Vec::new());
        let encoded = encoded.map_err(|error| ApiError::Unreadable(format!("it cannot be kept: {error}")))?;
        let followed = object.following().map(|label| {
            Arc::new(FollowedVersion {
                label: label.to_owned(),
                resource_version: object.metadata.resource_version.clone(),
            })
        });
        Ok(Self { encoded: encoded.into(), followed })
    }

    /// The object. `None` would be a bug, as it was encoded here; callers treat it as an object that is not watched.
    pub fn decode(&self) -> Option<WorkloadObject> {
        let decoded = postcard::from_bytes(&self.encoded);
        decoded.inspect_err(|error| tracing::error!("a watched object cannot be read back: {error}")).ok()
    }

    /// Set if its rollout is followed.
    pub fn followed(&self) -> Option<&FollowedVersion> {
        self.followed.as_deref()
    }

    /// Whether its rollout is followed.
    pub fn is_followed(&self) -> bool {
        self.followed.is_some()
    }

    /// Whether it runs the same images as another.
    pub(super) fn has_images_of(&self, other: &Self) -> bool {
        let images = |object: &WorkloadObject| {
            object.spec.template.spec.images().map(|image| image.image.to_owned()).collect::<Vec<_>>()
        };
        match (self.decode(), other.decode()) {
            (Some(one), Some(other)) => images(&one) == images(&other),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_watched_object_is_read_back_as_it_was() {
        let owned = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
            ".": {}, "f:kubectl.kubernetes.io/restartedAt": {}, "f:pushroll.dev/pushes": {}, "f:other": {}}}}}});
        let pod = json!({
            "containers": [{"image": "web:1", "imagePullPolicy": "Always"}, {"name": "filled in"}],
            "initContainers": [{"image": "init:1"}],
            "volumes": [{"name": "tmp"}, {"image": {"reference": "data:1", "pullPolicy": "IfNotPresent"}}],
        });
        let whole = json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3,
                "deletionTimestamp": "2026-11-20T09:16:40Z", "labels": {"pushroll.dev/following": "x", "team": "a"},
                "annotations": {"pushroll.dev/cooldown": "1h", "pushroll.dev/restart": "never", "other": "x"},
                "ownerReferences": [{"kind": "Kafka", "name": "k", "uid": "o", "controller": true}],
                "managedFields": [
                    {"manager": "pushroll", "time": "2026-11-20T09:16:40Z", "fieldsV1": owned},
                    {"manager": "helm", "fieldsV1": owned},
                    {"manager": "controller", "subresource": "status", "fieldsV1": owned},
                ],
            },
            "spec": {
                "paused": true, "replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
                "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]},
                "template": {"spec": pod, "metadata": {"annotations": {
                    "kubectl.kubernetes.io/restartedAt": "2026-11-20T09:16:40Z", "pushroll.dev/pushes": "{}", "other": "x"}}},
            },
            "status": {
                "observedGeneration": 3, "replicas": 4, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": -1,
                "currentRevision": "a", "updateRevision": "b", "desiredNumberScheduled": 5, "updatedNumberScheduled": 6,
                "numberAvailable": 7, "conditions": [{"reason": "ProgressDeadlineExceeded", "message": "too slow"}],
            },
        });
        let least = json!({"metadata": {"resourceVersion": "1", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        for (object, is_followed) in [(whole, true), (least, false)] {
            let object: WorkloadObject = serde_json::from_value(object).unwrap();
            let watched = WatchedObject::new(&object).unwrap();
            assert_eq!(watched.decode().unwrap(), object);
            let followed = watched.followed().map(|followed| (&*followed.label, &*followed.resource_version));
            assert_eq!(followed, is_followed.then_some(("x", "7")));
            assert!(watched.has_images_of(&watched));
        }
    }
}
