//! The value of the label `pushroll.dev/following`.

use super::waiting::hash_of;

/// The values of the label for one installation of pushroll. Several may run in one cluster, and each follows only the
/// restarts of its own replicas.
#[derive(Debug, Clone)]
pub struct FollowingLabel {
    installation: String,
}

impl FollowingLabel {
    /// For the installation that keeps what waits in the ConfigMap `name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { installation: hash_of(&format!("{namespace}/{name}")) }
    }

    /// The value for a restart: its `restartedAt`, without the colons that a label's value may not have, and a hash of
    /// the installation.
    pub fn value(&self, restarted_at: &str) -> String {
        format!("{}.{}", restarted_at.replace(':', "."), self.installation)
    }

    /// Whether a value is of this installation.
    pub fn is_ours(&self, value: &str) -> bool {
        value.rsplit_once('.').is_some_and(|(_, installation)| installation == self.installation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_of_one_installation_and_one_restart() {
        let [ours, theirs] = ["ours", "theirs"].map(|name| FollowingLabel::new("pushroll", name));
        let (first, second) = ("2026-03-01T10:00:00.123456789Z", "2026-03-01T10:00:01Z");
        assert!(ours.is_ours(&ours.value(first)));
        assert!(!theirs.is_ours(&ours.value(first)));
        assert_ne!(ours.value(first), ours.value(second));
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
        assert!(ours.value(first).chars().all(is_allowed));
        assert!(ours.value(first).len() <= 63);
        for other in ["", "7", "2026-03-01T10.00.00Z"] {
            assert!(!ours.is_ours(other), "{other}");
        }
    }
}
