//! Events with a name of our own: of several writers one makes it, and the others find it there.

use k8s_openapi::api::events::v1::Event;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};

impl Cluster {
    /// Creates an Event, as `field_manager`. Returns whether it was not there yet.
    ///
    /// # Errors
    /// The API server's refusal; [`ApiError::Unreadable`] for an Event without a namespace.
    pub async fn create_event(&self, event: &Event, field_manager: &str) -> Result<bool, ApiError> {
        let unreadable = |reason: String| ApiError::Unreadable(reason);
        let namespace = event.metadata.namespace.as_deref();
        let namespace = namespace.ok_or_else(|| unreadable("an Event without a namespace".to_owned()))?;
        let uri = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events?fieldManager={field_manager}");
        let body = serde_json::to_vec(event).map_err(|error| unreadable(error.to_string()))?;
        let body = Some(("application/json", body));
        match self.call(Call { verb: Verb::Create, resource: Resource::Events, uri, body }).await {
            Ok(_) => Ok(true),
            Err(ApiError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
