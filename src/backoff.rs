//! Pauses that grow after failures.

use std::time::Duration;

/// Twice as long after each failure: `first` after none, at most `longest`.
pub(crate) fn doubled(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}
