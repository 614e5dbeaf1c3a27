//! The settings of restarts.

use std::time::Duration;

use clap::Args;

use super::context::RestartConfig;
use super::policy::Policy;
use super::selector::LabelSelector;
use crate::arguments::{config_map_name, duration, namespace_name, positive_duration, switch, written_duration};
use crate::index::Scope;

/// Which workloads may be touched, and how clocks are compared.
#[derive(Debug, Clone, Args)]
pub struct PolicyArgs {
    /// Only workloads in these namespaces [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    pub namespaces: Vec<String>,
    /// No workloads in these namespaces
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_EXCLUDE_NAMESPACES")]
    pub exclude_namespaces: Vec<String>,
    /// Only workloads with these labels, as kubectl -l
    #[arg(long, value_name = "SELECTOR", env = "PUSHROLL_SELECTOR")]
    pub selector: Option<LabelSelector>,
    /// Only workloads with the annotation pushroll.dev/restart: "true"
    #[arg(long, env = "PUSHROLL_OPT_IN", value_parser = switch)]
    pub opt_in: bool,
    /// How far apart clocks may be and still be compared
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::CLOCK_MARGIN),
        value_parser = duration,
        env = "PUSHROLL_CLOCK_MARGIN"
    )]
    pub clock_margin: Duration,
}

/// Pushes that wait: for the end of a cooldown or of a refusal, or for a part of the scope that cannot be seen.
#[derive(Debug, Clone, Args)]
pub struct WaitingArgs {
    /// The ConfigMap in which pushes wait, in the namespace of the cache; pushroll creates it
    #[arg(
        long,
        value_name = "NAME",
        default_value = Self::default().waiting_configmap,
        value_parser = config_map_name,
        env = "PUSHROLL_WAITING_CONFIGMAP"
    )]
    pub waiting_configmap: String,
    /// How often to look for pushes that are due, and for parts of the scope that can be seen again
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().deferred_poll),
        value_parser = positive_duration,
        env = "PUSHROLL_DEFERRED_POLL"
    )]
    pub deferred_poll: Duration,
    /// [`super::RestartConfig::gather`]. No flag sets it; tests do.
    #[arg(skip = Self::GATHER)]
    pub gather: Duration,
}

impl WaitingArgs {
    /// How long a second restart right after the first waits for more pushes of the burst.
    pub const GATHER: Duration = Duration::from_secs(2);
}

impl PolicyArgs {
    /// The default of [`Self::clock_margin`], for commands without the flag as well.
    pub const CLOCK_MARGIN: Duration = Duration::from_secs(10);

    /// How a command restarts workloads: for a person, so no burst of pushes is waited for.
    pub fn by_hand(&self, concurrency: usize) -> RestartConfig {
        let (policy, clock_margin) = (self.policy(), self.clock_margin);
        RestartConfig { policy, clock_margin, concurrency, gather: Duration::ZERO }
    }

    /// Which workloads may be touched.
    pub fn policy(&self) -> Policy {
        Policy {
            scope: Scope::of(&self.namespaces),
            excluded_namespaces: self.exclude_namespaces.clone(),
            selector: self.selector.clone(),
            opt_in: self.opt_in,
        }
    }
}

impl Default for PolicyArgs {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            exclude_namespaces: Vec::new(),
            selector: None,
            opt_in: false,
            clock_margin: Self::CLOCK_MARGIN,
        }
    }
}

impl Default for WaitingArgs {
    fn default() -> Self {
        Self {
            waiting_configmap: "pushroll-waiting".to_owned(),
            deferred_poll: Duration::from_secs(10),
            gather: Self::GATHER,
        }
    }
}
