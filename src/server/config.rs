//! Everything that `serve` can be configured with.
//!
//! The settings of each component are the struct beside it, with its defaults and its flags. The command line, the demo
//! and the tests all start from [`ServeConfig::new`].

use std::time::Duration;

use clap::Args;

use super::auth::AuthConfig;
use super::listener::PublicListenerArgs;
use crate::arguments::{duration, written_duration};
use crate::cache::CacheArgs;
use crate::cache::configmap::CacheConfigMap;
use crate::cache::mount::MountReader;
use crate::cluster::ClusterArgs;
use crate::delivery::{DeliveryArgs, OwnPod};
use crate::following::FollowingArgs;
use crate::notify::NotifyArgs;
use crate::pull::PullArgs;
use crate::rollout::{PolicyArgs, WaitingArgs};

/// What the service does, and for which workloads.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Whose pushes are taken; `None` takes them from anyone.
    pub auth: Option<AuthConfig>,
    /// Where the cache ConfigMap lives.
    pub config_map: CacheConfigMap,
    /// Where it is mounted.
    pub mount: MountReader,
    /// The pod that this process runs in, whose workload is restarted last; `None`: it is in none.
    pub own_pod: Option<OwnPod>,
    /// How the cache is kept up to date.
    pub cache: CacheArgs,
    /// How deliveries are handled.
    pub delivery: DeliveryArgs,
    /// How much comes in at once.
    pub public: PublicListenerArgs,
    /// How many calls are made to the API server at once.
    pub cluster: ClusterArgs,
    /// How the service ends.
    pub drain: DrainArgs,
    /// How rollouts are followed.
    pub following: FollowingArgs,
    /// Pushes that wait.
    pub waiting: WaitingArgs,
    /// Which workloads may be touched, and how clocks are compared.
    pub policy: PolicyArgs,
    /// Who is notified of how rollouts end.
    pub notify: NotifyArgs,
    /// The subscriptions that pushes are pulled from.
    pub pull: PullArgs,
}

/// How the service ends.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// How long requests are still taken after SIGTERM, while readiness says no: until nobody sends here any more
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().drain_delay),
        value_parser = duration,
        env = "PUSHROLL_DRAIN_DELAY"
    )]
    pub drain_delay: Duration,
    /// Longest wait for requests in flight at the end
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().drain_timeout),
        value_parser = duration,
        env = "PUSHROLL_DRAIN_TIMEOUT"
    )]
    pub drain_timeout: Duration,
}

impl ServeConfig {
    /// The defaults of all settings. No default says whose pushes are taken: see [`Self::auth`].
    pub fn new(auth: Option<AuthConfig>, config_map: CacheConfigMap, mount: MountReader) -> Self {
        Self {
            auth,
            config_map,
            mount,
            own_pod: None,
            cache: CacheArgs::default(),
            delivery: DeliveryArgs::default(),
            public: PublicListenerArgs::default(),
            cluster: ClusterArgs::default(),
            drain: DrainArgs::default(),
            following: FollowingArgs::default(),
            waiting: WaitingArgs::default(),
            policy: PolicyArgs::default(),
            notify: NotifyArgs::default(),
            pull: PullArgs::default(),
        }
    }
}

impl Default for DrainArgs {
    fn default() -> Self {
        // Together as long as Kubernetes gives a pod to end.
        Self { drain_delay: Duration::from_secs(5), drain_timeout: Duration::from_secs(25) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::arguments::parsed_from_nothing;
    use crate::server::auth::AuthArgs;

    fn assert_parsed_from_nothing_as_default<T: Args + Default + Debug>() {
        assert_eq!(format!("{:?}", parsed_from_nothing::<T>()), format!("{:?}", T::default()));
    }

    #[test]
    fn a_command_line_without_arguments_gives_the_defaults() {
        assert_parsed_from_nothing_as_default::<AuthArgs>();
        assert_parsed_from_nothing_as_default::<CacheArgs>();
        assert_parsed_from_nothing_as_default::<DeliveryArgs>();
        assert_parsed_from_nothing_as_default::<PublicListenerArgs>();
        assert_parsed_from_nothing_as_default::<ClusterArgs>();
        assert_parsed_from_nothing_as_default::<DrainArgs>();
        assert_parsed_from_nothing_as_default::<FollowingArgs>();
        assert_parsed_from_nothing_as_default::<WaitingArgs>();
        assert_parsed_from_nothing_as_default::<PolicyArgs>();
        assert_parsed_from_nothing_as_default::<NotifyArgs>();
        assert_parsed_from_nothing_as_default::<PullArgs>();
    }
}
