//! Attempts on one workload, until one does not end in a conflict.
//!
//! The rules are those of workloads: the status updates of a rollout change the resourceVersion again and again, each
//! attempt is one GET and one PATCH, and a push waits for the result. Hence many attempts with short pauses.

use std::future::Future;
use std::time::Duration;

use crate::cluster::ApiError;

const ATTEMPTS: u32 = 10;
/// After the first conflict; after the second it is twice as long, and so on.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// Calls `attempt` again while it ends in a conflict.
///
/// # Errors
/// [`ApiError::Conflict`]: every attempt has ended in a conflict. Any other: that of the last attempt.
pub(super) async fn retry_on_conflict<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut conflicts = 0;
    loop {
        match attempt().await {
            Err(ApiError::Conflict(_)) if conflicts + 1 < ATTEMPTS => conflicts += 1,
            result => return result,
        }
        tokio::time::sleep(CONFLICT_PAUSE * conflicts).await;
    }
}
