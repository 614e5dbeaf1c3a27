//! The settings of following rollouts.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::arguments::{positive_duration, written_duration};

/// How rollouts are followed.
#[derive(Debug, Clone, Args)]
pub struct FollowingArgs {
    /// A rollout that makes no progress for longer ends as `unknown`
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().rollout_timeout),
        value_parser = positive_duration,
        env = "PUSHROLL_ROLLOUT_TIMEOUT"
    )]
    pub rollout_timeout: Duration,
    /// Whether to look at the pods of a restart: which image they run, and whether one cannot start
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = VerifyPods::Auto, env = "PUSHROLL_VERIFY_PODS")]
    pub verify_pods: VerifyPods,
    /// So long after the last change of its rollouts the summary of a push waits: another delivery of the push may restart
    /// more workloads. Other values are for tests.
    #[arg(skip = Self::SETTLE)]
    pub settle: Duration,
    /// For so long the summary waits for a failed rollout to recover. Other values are for tests.
    #[arg(skip = Self::RECOVERY)]
    pub recovery: Duration,
}

impl FollowingArgs {
    const SETTLE: Duration = Duration::from_secs(5);
    const RECOVERY: Duration = Duration::from_secs(2 * 60);
}

/// When the pods of a restart are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyPods {
    /// If we may list them
    Auto,
    /// The same, and the log warns where we may not list them
    On,
    /// Never
    Off,
}

impl Default for FollowingArgs {
    fn default() -> Self {
        Self {
            rollout_timeout: Duration::from_secs(15 * 60),
            verify_pods: VerifyPods::Auto,
            settle: Self::SETTLE,
            recovery: Self::RECOVERY,
        }
    }
}
