//! Who hands a message in.

use crate::rollout::restart::Mode;

/// Who hands a message in. Only Pub/Sub vouches for what a message says of itself: that its publish time is of Pub/Sub's
/// clock, and that a delivery with the same id is the same message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Pub/Sub. Under `--insecure-no-auth` each caller of the public listener is taken for it.
    PubSub,
    /// A person, by a replay on the admin listener. The message may be old, edited or made up.
    Person(Mode),
}

impl Sender {
    /// Whether the workloads are restarted.
    pub fn mode(self) -> Mode {
        match self {
            Self::PubSub => Mode::Apply,
            Self::Person(mode) => mode,
        }
    }

    pub(super) fn vouches(self) -> bool {
        self == Self::PubSub
    }
}
