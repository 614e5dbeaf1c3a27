//! How often a message is tried: with growing pauses, for an hour.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::attempt::{Failure, FailureKind};
use crate::backoff::doubled;

/// For how long a message is tried.
const TRIED_FOR: Duration = Duration::from_secs(60 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So a sink that is back gets its messages within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The most that a sink may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// Tries a message that has waited since `queued` until it is delivered, refused, or its time is over. There is one attempt
/// at least, and a last one when the time is over. `failed` is called after each attempt that is followed by another, with
/// the pause.
pub(super) async fn until_decided<F: Future<Output = Result<StatusCode, Failure>>>(
    queued: Instant,
    mut attempt: impl FnMut() -> F,
    mut failed: impl FnMut(&Failure, Duration),
) -> Result<StatusCode, Failure> {
    for failures in 0.. {
        let failure = match attempt().await {
            Ok(status) => return Ok(status),
            Err(failure) => failure,
        };
        let time_left = TRIED_FOR.saturating_sub(queued.elapsed());
        if failure.kind == FailureKind::Refused || time_left.is_zero() {
            return Err(failure);
        }
        let pause = pause_after(failures, failure.retry_after).min(time_left);
        failed(&failure, pause);
        sleep(pause).await;
    }
    unreachable!("the numbers of attempts have no end")
}

fn pause_after(failures: u32, retry_after: Option<Duration>) -> Duration {
    let growing = doubled(FIRST_PAUSE, failures, LONGEST_PAUSE);
    growing.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn failure(kind: FailureKind, retry_after: Option<u64>) -> Failure {
        Failure { kind, reason: "no".to_owned(), retry_after: retry_after.map(Duration::from_secs) }
    }

    /// The seconds at which a sink was tried that never takes a message.
    async fn tried_at(kind: FailureKind, retry_after: Option<u64>, waited: u64) -> Vec<u64> {
        let began = Instant::now();
        let queued = began - Duration::from_secs(waited);
        let mut tried = Vec::new();
        let attempt = || {
            tried.push(began.elapsed().as_secs());
            ready(Err(failure(kind, retry_after)))
        };
        until_decided(queued, attempt, |_, _| ()).await.unwrap_err();
        tried
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_for_an_hour() {
        tokio::time::advance(TRIED_FOR * 3).await;
        for kind in [FailureKind::NotNow, FailureKind::NoUrl] {
            let tried = tried_at(kind, None, 0).await;
            assert_eq!(tried[..11], [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811]);
            assert_eq!(tried[tried.len() - 2..], [3511, 3600]);
        }
        assert_eq!(tried_at(FailureKind::Refused, Some(1), 0).await, [0]);
        assert_eq!(tried_at(FailureKind::NotNow, None, 3590).await, [0, 1, 3, 7, 10]);
        assert_eq!(tried_at(FailureKind::NotNow, None, 7200).await, [0], "one attempt at least");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_may_ask_for_a_longer_pause() {
        let tried = tried_at(FailureKind::NotNow, Some(30), 0).await;
        assert_eq!(tried[..7], [0, 30, 60, 90, 120, 150, 182]);
        assert_eq!(tried_at(FailureKind::NotNow, Some(86_400), 0).await, [0, 900, 1800, 2700, 3600]);
        assert_eq!(tried_at(FailureKind::NotNow, Some(0), 0).await[..4], [0, 1, 3, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_ends_it() {
        let mut left = 3;
        let mut pauses = Vec::new();
        let attempt = || {
            left -= 1;
            ready(if left == 0 { Ok(StatusCode::ACCEPTED) } else { Err(failure(FailureKind::NotNow, None)) })
        };
        let delivered = until_decided(Instant::now(), attempt, |_, pause| pauses.push(pause.as_secs())).await;
        assert_eq!((delivered, pauses), (Ok(StatusCode::ACCEPTED), vec![1, 2]));
    }
}
