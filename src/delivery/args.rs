//! The settings of deliveries.

use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::answer::Poison;
use crate::arguments::{positive_duration, switch, written_duration};

/// How deliveries are handled.
#[derive(Debug, Clone, Args)]
pub struct DeliveryArgs {
    /// Longest wait for the proof that no workload was missed, then 503
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().hold),
        value_parser = positive_duration,
        env = "PUSHROLL_HOLD"
    )]
    pub hold: Duration,
    /// Answer from whatever index is at hand; a workload younger than it may be missed
    #[arg(long, env = "PUSHROLL_ALLOW_STALE", value_parser = switch)]
    pub allow_stale: bool,
    /// What becomes of junk on the topic: ack, or nack for a subscription with a dead-letter topic
    #[arg(long, value_enum, default_value_t = Self::default().poison, env = "PUSHROLL_POISON")]
    pub poison: Poison,
}

impl Default for DeliveryArgs {
    fn default() -> Self {
        // Under the 10 s that a subscription waits for an answer by default.
        Self { hold: Duration::from_secs(8), allow_stale: false, poison: Poison::Ack }
    }
}

/// By hand: the derived one would print the comments of the variants in the help.
impl ValueEnum for Poison {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Ack, Self::Nack]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Ack => "ack",
            Self::Nack => "nack",
        }))
    }
}
