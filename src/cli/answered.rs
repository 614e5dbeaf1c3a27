//! How a command ended.

/// What a command came to, when nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Exit 0.
    Yes,
    /// Exit 1: done, but what it did has failed in part.
    Failed,
    /// Exit 3.
    No,
}
