//! How long a broken watch waits before it begins again.

use std::time::Duration;

use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::DefaultBackoff;

use crate::cluster::ApiError;

/// Where we may not watch. Each further try is a LIST of everything, and it may take an operator long to grant it. A scan
/// that sees what was forbidden ends this pause.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(300);
/// An API server that has just started refuses every call until it has read its roles, so this many refusals in a row
/// are not taken for a missing permission. With the pauses between them they take some 20 s.
const REFUSALS_AT_A_START: u32 = 5;

/// Pauses that grow from 0.8 to 30 s, give or take a half.
#[derive(Default)]
pub(super) struct Pauses {
    backoff: DefaultBackoff,
    refusals: u32,
}

impl Pauses {
    /// After a watch request that broke off; the next one goes on from there.
    pub(super) fn next(&mut self) -> Duration {
        // This backoff has no last pause.
        self.backoff.next().unwrap_or_default()
    }

    /// After an error that ended the watch.
    pub(super) fn after(&mut self, error: &ApiError) -> Duration {
        if matches!(error, ApiError::Forbidden(_) | ApiError::Unauthorized(_)) {
            self.refusals += 1;
            if self.refusals > REFUSALS_AT_A_START {
                return FORBIDDEN_PAUSE;
            }
        } else {
            self.refusals = 0;
        }
        self.next()
    }

    /// The watch is live. By itself the backoff would forget an outage only two minutes after its last pause.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
        self.refusals = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_asked_for_less_and_less_often() {
        let (refused, away) = (ApiError::Forbidden("no".to_owned()), ApiError::Unreachable("away".to_owned()));
        let mut pauses = Pauses::default();
        for _ in 0..2 {
            let first: Vec<_> = (0..REFUSALS_AT_A_START).map(|_| pauses.after(&refused)).collect();
            assert!(first[0] < Duration::from_secs(2), "{first:?}");
            assert!(first.iter().sum::<Duration>() < Duration::from_secs(60), "{first:?}");
            assert_eq!([pauses.after(&refused), pauses.after(&refused)], [FORBIDDEN_PAUSE; 2]);
            let long: Vec<_> = (0..20).map(|_| pauses.after(&away)).collect();
            assert!(long.iter().all(|pause| *pause <= Duration::from_secs(60)), "{long:?}");
            assert!(long[19] >= Duration::from_secs(15), "{long:?}");
            pauses.reset();
        }
    }
}
