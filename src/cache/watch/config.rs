//! How the watch is set up.

use std::time::Duration;

/// How the watch is set up.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// How long one watch request lasts, in whole seconds. Its end is the sign of life of a watch without events.
    pub request: Duration,
    /// For how long a watch without a sign of life is trusted.
    pub patience: Duration,
    /// Whether to keep the labels of workloads in memory: a decision looks at them only with `--selector`.
    pub keep_labels: bool,
    /// The name of this replica in the Lease by which replicas take turns at writing the ConfigMap.
    pub identity: String,
}

impl WatchConfig {
    /// [`Self::request`] of `serve --watch`.
    pub const REQUEST: Duration = Duration::from_secs(8);
    /// [`Self::patience`] of `serve --watch`: a watch that hangs is noticed within this time.
    pub const PATIENCE: Duration = Duration::from_secs(15);

    /// As `serve --watch` has it.
    pub fn new(identity: String) -> Self {
        Self { request: Self::REQUEST, patience: Self::PATIENCE, keep_labels: true, identity }
    }
}
