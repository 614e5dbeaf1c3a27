//! The settings of the public listener.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::arguments::{body_size, positive_duration, written_byte_size, written_duration};

/// How much comes in at once, and how slowly.
#[derive(Debug, Clone, Args)]
pub struct PublicListenerArgs {
    /// Largest body of a push
    #[arg(
        long,
        value_name = "SIZE",
        default_value = written_byte_size(Self::default().max_body),
        value_parser = body_size,
        env = "PUSHROLL_MAX_BODY"
    )]
    pub max_body: usize,
    /// Open connections to the public listener; beyond it the longest idle one makes room
    #[arg(
        long,
        value_name = "N",
        default_value_t = Self::default().max_connections,
        value_parser = up_to_a_million(),
        env = "PUSHROLL_MAX_CONNECTIONS"
    )]
    pub max_connections: usize,
    /// Pushes worked on at once; beyond it they get 503
    #[arg(
        long,
        value_name = "N",
        default_value_t = Self::default().max_requests,
        value_parser = up_to_a_million(),
        env = "PUSHROLL_MAX_REQUESTS"
    )]
    pub max_requests: usize,
    /// Longest time for the body of a push to come, then 408; never longer than --hold
    #[arg(
        long,
        value_name = "DURATION",
        default_value = written_duration(Self::default().body_timeout),
        value_parser = positive_duration,
        env = "PUSHROLL_BODY_TIMEOUT"
    )]
    pub body_timeout: Duration,
}

impl Default for PublicListenerArgs {
    fn default() -> Self {
        Self {
            // A message of Pub/Sub has 10 MB at most, in base64.
            max_body: 14 * 1024 * 1024,
            max_connections: 12_000,
            max_requests: 512,
            body_timeout: Duration::from_secs(5),
        }
    }
}

/// A number beyond is a mistake.
fn up_to_a_million() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1_000_000)
}
