//! A Lease that says whose turn it is, so that replicas do not do the same work at once. Nothing rests on it: what is
//! done in a turn has preconditions of its own.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::request::{Call, Cluster};

/// Whose turn it is, as one process sees it.
#[derive(Debug)]
pub struct LeaseTurn {
    namespace: String,
    name: String,
    identity: String,
    duration: Duration,
    /// Someone else's holding of it as last seen, and since when, by our own clock: clocks of others say nothing
    /// (Kubernetes: `client-go/tools/leaderelection` does so, too).
    seen: Option<(LeaseSpec, Instant)>,
}

/// What asking for the turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is ours, for the Lease's duration.
    Ours,
    /// It is someone else's for this long at most.
    Theirs(Duration),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lease {
    metadata: LeaseMetadata,
    #[serde(default)]
    spec: LeaseSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeaseMetadata {
    resource_version: String,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeaseSpec {
    #[serde(default)]
    holder_identity: Option<String>,
    #[serde(default)]
    renew_time: Option<Timestamp>,
    #[serde(default)]
    lease_duration_seconds: Option<u64>,
}

impl LeaseTurn {
    /// The turn of the Lease `namespace/name`; `identity` tells this process from all others.
    pub fn new(namespace: &str, name: &str, identity: String, duration: Duration) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), identity, duration, seen: None }
    }

    /// Takes the turn, or keeps it, if nobody else has it.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn take(&mut self, cluster: &Cluster) -> Result<Turn, ApiError> {
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace);
        let object = format!("{collection}/{}", self.name);
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration.as_secs(),
            "renewTime": format!("{:.6}", cluster.clock().now()),
        });
        let get = Call { verb: "get", resource: "leases", uri: object.clone(), body: None };
        let (verb, uri, media_type, body) = match cluster.call(get).await {
            Err(ApiError::NotFound(_)) => {
                let metadata = json!({"name": self.name, "namespace": self.namespace});
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
                ("create", collection, "application/json", lease)
            }
            Err(error) => return Err(error),
            Ok(body) => {
                let lease: Lease =
                    serde_json::from_slice(&body).map_err(|error| ApiError::Unreadable(error.to_string()))?;
                if let Some(left) = self.held_by_other(lease.spec) {
                    return Ok(Turn::Theirs(left));
                }
                let metadata = json!({"resourceVersion": lease.metadata.resource_version});
                ("patch", object, "application/merge-patch+json", json!({"metadata": metadata, "spec": spec}))
            }
        };
        let body = Some((media_type, body.to_string().into_bytes()));
        match cluster.call(Call { verb, resource: "leases", uri, body }).await {
            Ok(_) => Ok(Turn::Ours),
            // Someone was quicker.
            Err(ApiError::Conflict(_)) => Ok(Turn::Theirs(self.duration)),
            Err(error) => Err(error),
        }
    }

    /// For how long someone else may still hold it: until it has not been renewed for its duration, as we saw it.
    fn held_by_other(&mut self, spec: LeaseSpec) -> Option<Duration> {
        if spec.holder_identity.as_deref().is_none_or(|holder| holder.is_empty() || holder == self.identity) {
            return None;
        }
        let duration = spec.lease_duration_seconds.map_or(self.duration, Duration::from_secs);
        let since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => Instant::now(),
        };
        self.seen = Some((spec, since));
        duration.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
    }
}
