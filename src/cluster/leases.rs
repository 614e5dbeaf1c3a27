//! A Lease, held by one replica at a time so that others do not do the same work. It only avoids duplicate work: the
//! writes of its holder have preconditions of their own, and a replica that cannot read the Lease works without it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use serde_json::json;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};

/// One process that wants to hold a Lease.
#[derive(Debug)]
pub struct LeaseHolder {
    namespace: String,
    name: String,
    identity: String,
    duration: Duration,
    field_manager: &'static str,
    /// The Lease as another process last renewed it, and when we first saw it so. Only our own clock counts, as in
    /// Kubernetes' `client-go/tools/leaderelection`.
    seen: Option<(LeaseSpec, Instant)>,
}

impl LeaseHolder {
    /// For the Lease `namespace/name`. `identity` is that of this process alone.
    pub fn new(namespace: &str, name: &str, identity: String, duration: Duration, field_manager: &'static str) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { namespace, name, identity, duration, field_manager, seen: None }
    }

    /// Takes or renews the Lease, unless another process holds it: then this returns for how long at most.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn take(&mut self, cluster: &Cluster) -> Result<Option<Duration>, ApiError> {
        match self.take_at_once(cluster).await {
            // Another process took it at the same time, or another task of this process has renewed it.
            Err(ApiError::Conflict(_)) => match self.take_at_once(cluster).await {
                Err(ApiError::Conflict(_)) => Ok(Some(self.duration)),
                taken => taken,
            },
            taken => taken,
        }
    }

    async fn take_at_once(&mut self, cluster: &Cluster) -> Result<Option<Duration>, ApiError> {
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace);
        let object = format!("{collection}/{}", self.name);
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration.as_secs(),
            "renewTime": format!("{:.6}", cluster.clock().now()),
        });
        let get = Call { verb: Verb::Get, resource: Resource::Leases, uri: object.clone(), body: None };
        let (verb, uri, media_type, body) = match cluster.call_for::<Lease>(get).await {
            Err(ApiError::NotFound(_)) => {
                let metadata = json!({"name": self.name, "namespace": self.namespace});
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
                (Verb::Create, collection, "application/json", lease)
            }
            Err(error) => return Err(error),
            Ok(lease) => {
                if let Some(left) = self.held_by_other(lease.spec.unwrap_or_default()) {
                    return Ok(Some(left));
                }
                let Some(version) = lease.metadata.resource_version else {
                    return Err(ApiError::Unreadable(format!("the Lease {} has no resourceVersion", self.name)));
                };
                let metadata = json!({"resourceVersion": version});
                (Verb::Patch, object, "application/merge-patch+json", json!({"metadata": metadata, "spec": spec}))
            }
        };
        let uri = format!("{uri}?fieldManager={}", self.field_manager);
        let body = Some((media_type, body.to_string().into_bytes()));
        cluster.call(Call { verb, resource: Resource::Leases, uri, body }).await.map(|_| None)
    }

    /// How long another process may still hold it: until we have seen no renewal for the Lease's duration.
    fn held_by_other(&mut self, spec: LeaseSpec) -> Option<Duration> {
        if spec.holder_identity.as_deref().is_none_or(|holder| holder.is_empty() || holder == self.identity) {
            return None;
        }
        let seconds = spec.lease_duration_seconds.and_then(|seconds| seconds.try_into().ok());
        let duration = seconds.map_or(self.duration, Duration::from_secs);
        let since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => Instant::now(),
        };
        self.seen = Some((spec, since));
        duration.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
    }
}
