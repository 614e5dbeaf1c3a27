//! Waiting for a condition: the one place in the tests that lets time pass.

use std::time::Duration;

/// Generous: these machines are shared. A condition that holds is seen within a few milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something; fails the test, naming `what`, if it never does.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let waited = tokio::time::timeout(LIMIT, async {
        loop {
            ticks.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}
