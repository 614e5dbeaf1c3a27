//! Trying a write again that another writer was ahead of.

use std::future::Future;
use std::time::Duration;

use super::error::ApiError;

/// The attempts at a write whose precondition may fail because others write the same object:
///
/// ```text
/// let mut attempts = Attempts::new(5, pause);
/// while attempts.next().await {
///     // Read the object, and write it. Return, unless that was a conflict.
/// }
/// // Others were ahead at every attempt.
/// ```
#[derive(Debug)]
pub struct Attempts {
    begun: u32,
    max: u32,
    pause: Duration,
}

impl Attempts {
    /// At most `max` attempts. Before the second this waits for `pause`, before the third twice as long, and so on.
    pub fn new(max: u32, pause: Duration) -> Self {
        Self { begun: 0, max, pause }
    }

    /// Whether there is another attempt; returns when that may begin.
    pub async fn next(&mut self) -> bool {
        if self.begun == self.max {
            return false;
        }
        let wait = self.pause * self.begun;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.begun += 1;
        true
    }

    /// Whether an attempt has failed before this one, so that the object must be read again.
    pub fn is_repeated(&self) -> bool {
        self.begun > 1
    }

    /// Whether there is none after this one.
    pub fn is_last(&self) -> bool {
        self.begun == self.max
    }
}

/// Calls `attempt` again while it ends in a conflict.
///
/// # Errors
/// [`ApiError::Conflict`]: every attempt has ended in a conflict. Any other: that of the last attempt.
pub async fn retry_on_conflict<T, F>(mut attempts: Attempts, mut attempt: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    loop {
        attempts.next().await;
        match attempt().await {
            Err(ApiError::Conflict(_)) if !attempts.is_last() => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_so_many_attempts_and_no_more() {
        let mut attempts = Attempts::new(3, Duration::ZERO);
        let mut repeated = Vec::new();
        while attempts.next().await {
            repeated.push(attempts.is_repeated());
        }
        assert_eq!(repeated, [false, true, true]);
        assert!(!attempts.next().await);
    }
}
