//! Which workload is pushroll's own, by the name of its pod: this needs no setting and no call.
//!
//! Controllers derive the names of pods from those of their workloads:
//!
//! | kind | pod name | source in Kubernetes |
//! |---|---|---|
//! | Deployment | `WORKLOAD-HASH-XXXXX` | `pkg/controller/deployment/sync.go`, `getNewReplicaSet`; `pkg/controller/controller_utils.go`, `GetPodFromTemplate` |
//! | StatefulSet | `WORKLOAD-ORDINAL` | `pkg/controller/statefulset/stateful_set_utils.go`, `getPodName` |
//! | DaemonSet | `WORKLOAD-XXXXX` | `pkg/controller/controller_utils.go`, `GetPodFromTemplate` |
//!
//! `HASH` is a 32-bit number in decimal, written in the alphabet of `XXXXX` (`apimachinery/pkg/util/rand`,
//! `SafeEncodeString`). The part before `XXXXX` is cut off after 58 characters (`apiserver/pkg/storage/names`).
//! A workload that is taken for pushroll's own by mistake is restarted last; nothing else follows from it.

use crate::workload::{WorkloadKind, WorkloadRef};

/// The characters of random suffixes and hashes.
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";
/// The length of the random suffix.
const SUFFIX: usize = 5;
/// The longest name before the suffix: 63 characters in all.
const LONGEST_BASE: usize = 63 - SUFFIX;
/// Digits of the largest 32-bit number.
const LONGEST_HASH: usize = 10;

/// The pod that this process runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name, which is also its host name.
    pub name: String,
}

impl OwnPod {
    /// Whether the pod belongs to this workload, by its name.
    pub fn is_of(&self, workload: &WorkloadRef) -> bool {
        if *workload.namespace != *self.namespace {
            return false;
        }
        match workload.kind {
            WorkloadKind::StatefulSet => {
                let ordinal = self.name.strip_prefix(&*workload.name).and_then(|rest| rest.strip_prefix('-'));
                ordinal.is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit()))
            }
            WorkloadKind::DaemonSet => self.is_generated_from(&workload.name, |rest, _| rest == "-"),
            WorkloadKind::Deployment => self.is_generated_from(&workload.name, |rest, is_whole| {
                let Some(rest) = rest.strip_prefix('-') else { return false };
                let (hash, ends) = rest.strip_suffix('-').map_or((rest, false), |hash| (hash, true));
                let is_hash = hash.chars().all(|c| ALPHABET.contains(c)) && hash.len() <= LONGEST_HASH;
                is_hash && if is_whole { ends && !hash.is_empty() } else { !ends || !hash.is_empty() }
            }),
        }
    }

    /// Whether the name consists of the workload's name, a part that `rest` accepts, and a random suffix. The second
    /// argument of `rest` says whether it gets the whole part, or the beginning of a longer one that was cut off.
    fn is_generated_from(&self, workload: &str, rest: impl Fn(&str, bool) -> bool) -> bool {
        let Some((base, suffix)) = self.name.split_at_checked(self.name.len().saturating_sub(SUFFIX)) else {
            return false;
        };
        if suffix.len() != SUFFIX || !suffix.chars().all(|c| ALPHABET.contains(c)) {
            return false;
        }
        let may_be_cut = base.len() == LONGEST_BASE;
        match base.strip_prefix(workload) {
            Some(after) => rest(after, true) || (may_be_cut && (after.is_empty() || rest(after, false))),
            None => may_be_cut && workload.starts_with(base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of(pod: &str, kind: WorkloadKind, workload: &str) -> bool {
        let pod = OwnPod { namespace: "pushroll".to_owned(), name: pod.to_owned() };
        assert!(!pod.is_of(&WorkloadRef::new("elsewhere", kind, workload)), "{pod:?}");
        pod.is_of(&WorkloadRef::new("pushroll", kind, workload))
    }

    #[test]
    fn a_pod_is_of_the_workload_that_its_name_is_made_from() {
        use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
        for (pod, kind, workload) in [
            ("pushroll-6b7d9c5f8-x2x4z", Deployment, "pushroll"),
            ("pushroll-b-x2x4z", Deployment, "pushroll"),
            ("push-roll-6b7d9c5f8-x2x4z", Deployment, "push-roll"),
            ("pushroll-0", StatefulSet, "pushroll"),
            ("pushroll-12", StatefulSet, "pushroll"),
            ("pushroll-x2x4z", DaemonSet, "pushroll"),
        ] {
            assert!(is_of(pod, kind, workload), "{pod} of {workload}");
        }
        for (pod, kind, workload) in [
            ("pushroll-6b7d9c5f8-x2x4z", Deployment, "push"),
            ("pushroll-6b7d9c5f8-x2x4z", Deployment, "pushroll-6b7d9c5f8"),
            ("pushroll-canary-6b7d9c5f8-x2x4z", Deployment, "pushroll"),
            ("pushroll-6b7d9c5f8-x2x4z", DaemonSet, "pushroll"),
            ("pushroll-6b7d9c5f8-x2x4z", StatefulSet, "pushroll"),
            ("pushroll-6b7d9c5f8bbb-x2x4z", Deployment, "pushroll"),
            ("pushroll-aaaaaaaaa-x2x4z", Deployment, "pushroll"),
            ("pushroll-6b7d9c5f8-axxxx", Deployment, "pushroll"),
            ("pushroll--x2x4z", Deployment, "pushroll"),
            ("pushroll-x2x4z", Deployment, "pushroll"),
            ("pushroll", Deployment, "pushroll"),
            ("pushroll-", StatefulSet, "pushroll"),
            ("pushroll-1a", StatefulSet, "pushroll"),
            ("pushroll", StatefulSet, "pushroll"),
            ("workstation", Deployment, "pushroll"),
            ("x2x4z", DaemonSet, ""),
            ("", Deployment, ""),
            ("\u{fc}\u{fc}\u{fc}\u{fc}", DaemonSet, "\u{fc}"),
        ] {
            assert!(!is_of(pod, kind, workload), "{pod} of {workload}");
        }
    }

    #[test]
    fn a_long_name_is_recognised_by_what_is_left_of_it() {
        for length in 1..=80 {
            let workload = "w".repeat(length);
            for (kind, after) in [(WorkloadKind::Deployment, "-6b7d9c5f8b-"), (WorkloadKind::DaemonSet, "-")] {
                let mut base = format!("{workload}{after}");
                base.truncate(LONGEST_BASE);
                assert!(is_of(&format!("{base}x2x4z"), kind, &workload), "{kind:?} of {length}");
                let another = format!("{}a", &workload[1..]);
                let is_cut_off = length > LONGEST_BASE;
                assert_eq!(is_of(&format!("{base}x2x4z"), kind, &another), is_cut_off && another.starts_with(&base));
            }
        }
    }
}
