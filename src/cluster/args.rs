//! The settings of calls to the API server.

use clap::Args;
use clap::builder::RangedI64ValueParser;

use super::gate::DEFAULT_CONCURRENCY;

/// How many calls are made at once.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Calls to the API server at once, watches apart; and workloads worked on at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = Self::default().concurrency,
        value_parser = RangedI64ValueParser::<usize>::new().range(1..=u16::MAX.into()),
        env = "PUSHROLL_CONCURRENCY"
    )]
    pub concurrency: usize,
}

impl Default for ClusterArgs {
    fn default() -> Self {
        Self { concurrency: DEFAULT_CONCURRENCY }
    }
}
