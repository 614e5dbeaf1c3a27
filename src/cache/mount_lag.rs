//! How long the mount has shown another document than the ConfigMap holds.
//!
//! A mount may no longer follow its ConfigMap: a `subPath`, a volume of an immutable or a replaced ConfigMap, a kubelet
//! that has given up. The kubelet does not report that, so the two are compared whenever the ConfigMap is read.
//! `managedFields` has the time of the ConfigMap's last change, so that one comparison is enough.
//!
//! A ConfigMap that was changed and changed back between two of our reads counts as changed. The mount then seems to
//! lag until it next shows what the ConfigMap holds.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::current::MountedDocument;

/// The kubelet shows a change within its sync period and the age of its cache, 80 s in all by default. A mount that has
/// not changed after this time does not follow.
pub const KUBELET_DELAY_MAX: Duration = Duration::from_secs(180);

#[derive(Debug, Default)]
pub(super) struct MountLag {
    /// While the mount differs: what it shows, and when the ConfigMap came to hold something else.
    difference: Mutex<Option<(MountedDocument, Instant)>>,
}

impl MountLag {
    /// The mount shows `mounted`, and the ConfigMap holds the document with the fingerprint `stored`; it was last changed
    /// so long ago, where that is known. Returns how long the two have differed; `None` where they are the same, or
    /// nothing is mounted.
    ///
    /// The time goes on over further changes of the ConfigMap, and begins anew when the mount shows something else.
    pub(super) fn compare(
        &self,
        mounted: Option<MountedDocument>,
        stored: u64,
        changed_ago: Option<Duration>,
    ) -> Option<Duration> {
        let mut difference = self.difference.lock();
        let before = difference.take().filter(|(shown, _)| Some(*shown) == mounted);
        let mounted = mounted.filter(|mounted| mounted.fingerprint != stored)?;
        let now = Instant::now();
        let changed = now.checked_sub(changed_ago.unwrap_or_default()).unwrap_or(now);
        let since = before.map_or(changed, |(_, since)| since.min(changed));
        *difference = Some((mounted, since));
        Some(now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_lags_from_the_change_on_until_it_moves() {
        let (lag, minutes) = (MountLag::default(), |minutes: u64| Duration::from_secs(60 * minutes));
        let shows = |fingerprint| Some(MountedDocument { fingerprint, since: Instant::now() });
        assert_eq!(lag.compare(None, 2, Some(minutes(9))), None, "nothing is mounted");
        let first = shows(1);
        assert_eq!(lag.compare(first, 1, Some(minutes(9))), None, "the same");
        assert!(lag.compare(first, 2, Some(minutes(1))).unwrap() < minutes(2));
        assert!(lag.compare(first, 3, Some(minutes(4))).unwrap() >= minutes(4));
        assert!(
            lag.compare(first, 4, Some(minutes(0))).unwrap() >= minutes(4),
            "changed again, and still not followed"
        );
        assert!(lag.compare(first, 4, None).unwrap() >= minutes(4));
        let second = shows(2);
        assert!(lag.compare(second, 4, None).unwrap() < minutes(1), "it has moved");
        assert_eq!(lag.compare(shows(4), 4, Some(minutes(9))), None);
        assert!(lag.compare(first, 4, None).unwrap() < minutes(1), "the difference before is over");
    }
}
