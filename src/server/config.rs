//! Everything that `serve` can be told.
//!
//! It must not know how the command line or the environment says it.

use std::time::Duration;

use super::Limits;
use super::auth::AuthConfig;
use crate::cache::WatchConfig;
use crate::cache::configmap::CacheConfigMap;
use crate::cache::mount::MountReader;
use crate::delivery::OwnPod;
use crate::delivery::answer::Poison;
use crate::rollout::Policy;

/// What the service does, and for whom.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Who may push; `None` takes pushes from anyone.
    pub auth: Option<AuthConfig>,
    /// Where the cache ConfigMap lives.
    pub config_map: CacheConfigMap,
    /// Where it is mounted.
    pub mount: MountReader,
    /// How often the mount is looked at.
    pub mount_poll: Duration,
    /// Least time between two rounds to the API server.
    pub rebuild_interval: Duration,
    /// A scan on a timer.
    pub refresh_interval: Option<Duration>,
    /// Tell the pods that mount the cache of each change.
    pub refresh_mounts: bool,
    /// Longest wait for the proof.
    pub hold: Duration,
    /// How far apart clocks may be and still be compared.
    pub clock_margin: Duration,
    /// Follow the cluster event by event.
    pub watch: Option<WatchConfig>,
    /// Answer from whatever index is at hand.
    pub allow_stale: bool,
    /// Whether junk is acknowledged.
    pub poison: Poison,
    /// Largest body of a push, in bytes.
    pub max_body: usize,
    /// What comes in at once, and how slowly.
    pub limits: Limits,
    /// Which workloads may be touched.
    pub policy: Policy,
    /// Calls to the API server at once, and workloads worked on at once.
    pub concurrency: usize,
    /// Longest wait for requests in flight at the end.
    pub drain_timeout: Duration,
    /// The pod that this process runs in, whose workload is restarted last; `None`: it is in none.
    pub own_pod: Option<OwnPod>,
    /// How often pushes are looked for that wait for the end of a cooldown.
    pub deferred_poll: Duration,
}
