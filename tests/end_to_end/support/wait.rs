//! Waiting for a condition: the one place in the tests that lets time pass.

use std::time::Duration;

use super::service::Service;

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

impl Service {
    /// How many warnings of its log say this; waits until there is one, for a log line may come after the answer.
    pub async fn warned(&self, says: &str) -> usize {
        let count = || {
            let is_it = |line: &&serde_json::Value| {
                line["severity"] == "WARNING" && line["message"].as_str().is_some_and(|message| message.contains(says))
            };
            self.log().iter().filter(is_it).count()
        };
        eventually(says, async || Some(count()).filter(|count| *count > 0)).await
    }
}
