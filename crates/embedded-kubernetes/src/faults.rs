//! What goes wrong on demand: an API server that is away, and a policy that refuses.

/// What every request meets while the API server is "away".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No answer until the outage is lifted; then the request is handled as if nothing had been.
    Hang,
    /// A `Status` of this code: 503, 500, 429 (with `Retry-After`), 403, 401.
    Status(u16),
}

/// The name of the policy and of its binding in the refusals that [`deny`](crate::EmbeddedKubernetes::deny) causes.
pub const POLICY_NAME: &str = "embedded-policy";

/// Workloads that may not be written.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) namespace: String,
    /// `None`: all in the namespace.
    pub(super) name: Option<String>,
    pub(super) message: String,
}

// === impl Denial ===

impl Denial {
    pub(super) fn is_of(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name.as_deref().is_none_or(|denied| denied == name)
    }
}
