//! The result of a command, as its exit code says it.

/// What a command came to, where it did not fail as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// Exit 0.
    Yes,
    /// Exit 1: done, but a part of it has failed.
    Failed,
    /// Exit 3.
    No,
}
