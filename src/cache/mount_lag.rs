//! A mount that no longer follows its ConfigMap: a `subPath`, a volume of an immutable or a replaced ConfigMap, a
//! kubelet that has given up. The kubelet says nothing of it, so the two are compared whenever the ConfigMap is read.
//!
//! A ConfigMap that was changed and changed back between two of our reads counts as changed: a mount may be accused
//! until it next shows what the ConfigMap holds.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use parking_lot::{Mutex, MutexGuard};

use super::Tier;
use super::resolver::Resolver;
use crate::cluster::ConfigMapObject;

/// The kubelet shows a change within its sync period and the age of its cache, 80 s in all by default; what is not
/// there by now does not come.
pub const KUBELET_DELAY_MAX: Duration = Duration::from_secs(180);

/// What the mount shows, and since when the ConfigMap is known to hold something else.
#[derive(Debug, Default)]
pub(super) struct MountLag(Mutex<Lag>);

#[derive(Debug, Default)]
struct Lag {
    shown: Option<u64>,
    since: Option<Instant>,
}

impl MountLag {
    /// The mount shows this document now, by its fingerprint. Another than before: it does follow.
    pub(super) fn shown(&self, fingerprint: u64) {
        let mut lag = self.lock();
        if lag.shown != Some(fingerprint) {
            *lag = Lag { shown: Some(fingerprint), since: None };
        }
    }

    /// The ConfigMap holds this document, and was last changed so long ago, where that is known. How long the mount
    /// has shown another one; `None` where it shows the same, or nothing.
    fn compare(&self, stored: u64, changed_ago: Option<Duration>) -> Option<Duration> {
        let mut lag = self.lock();
        let shown = lag.shown?;
        if shown == stored {
            lag.since = None;
            return None;
        }
        let now = Instant::now();
        let changed = now.checked_sub(changed_ago.unwrap_or_default()).unwrap_or(now);
        let since = lag.since.map_or(changed, |since| since.min(changed));
        lag.since = Some(since);
        Some(now.duration_since(since))
    }

    fn lock(&self) -> MutexGuard<'_, Lag> {
        self.0.lock()
    }
}

impl Resolver {
    /// To be told of every ConfigMap that was read: warns of a mount that does not follow it.
    pub(super) fn compare_mount(&self, object: &ConfigMapObject) {
        let Some(stored) = self.config_map().stored(object) else { return };
        // Both times are the API server's: how far its clock is from ours does not matter.
        let now = self.cluster().server_clock().passed(Duration::MAX);
        let changed_ago = now.zip(object.changed_at()).map(|(now, changed_at)| now.duration_since(changed_at));
        let changed_ago = changed_ago.map(|ago: SignedDuration| Duration::try_from(ago).unwrap_or_default());
        let lag = self.mount_lag().compare(stored.fingerprint(), changed_ago);
        let warning = format!(
            "the mount no longer follows the ConfigMap {}: minutes after its last change it shows another document; \
             `pushroll check` says more",
            self.config_map()
        );
        self.board().set_warning(Tier::Mount, &warning, lag.is_some_and(|lag| lag > KUBELET_DELAY_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_behind_from_the_change_on_until_it_moves() {
        let (lag, minutes) = (MountLag::default(), |minutes: u64| Duration::from_secs(60 * minutes));
        assert_eq!(lag.compare(2, Some(minutes(9))), None, "nothing is mounted");
        lag.shown(1);
        assert_eq!(lag.compare(1, Some(minutes(9))), None, "the same");
        assert!(lag.compare(2, Some(minutes(1))).unwrap() < minutes(2));
        assert!(lag.compare(3, Some(minutes(4))).unwrap() >= minutes(4));
        assert!(lag.compare(4, Some(minutes(0))).unwrap() >= minutes(4), "changed again, and still not followed");
        lag.shown(1);
        assert!(lag.compare(4, None).unwrap() >= minutes(4), "shown again is not moved");
        lag.shown(2);
        assert!(lag.compare(4, None).unwrap() < minutes(1), "it has moved");
        lag.shown(4);
        assert_eq!(lag.compare(4, Some(minutes(9))), None);
    }
}
