//! One message, from its arrival until it is acknowledged or given back.

use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PullMetrics;
use super::metrics::PullResult;
use crate::backoff::doubled;
use crate::delivery::answer::Poison;
use crate::delivery::{Deliveries, ReadMessage, Received, Sender};
use crate::event::Message;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So what is held is tried again within this time after an outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the messages of a subscription are delivered with.
#[derive(Debug, Clone)]
pub(super) struct Delivering {
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) poison: Poison,
    pub(super) max_lease: Duration,
    pub(super) metrics: PullMetrics,
}

/// What an attempt has shown.
enum Attempt {
    /// A push would be answered 2xx.
    Done,
    /// A later attempt may do it.
    NotYet,
    /// Junk, under `--poison nack`: it belongs in the dead-letter topic.
    Refused,
}

impl Delivering {
    /// Delivers a message until it is done. It is given back when it has been held for too long, and at `end`.
    pub(super) async fn deliver(self, message: Message, handler: Handler, first: Received, end: CancellationToken) {
        let deadline = Instant::now() + self.max_lease;
        let message = ReadMessage::of(message);
        let mut received = first;
        for attempts in 0_u32.. {
            match self.attempt(&message, received).await {
                Attempt::Done => {
                    self.metrics.count(PullResult::Acknowledged);
                    return handler.ack();
                }
                Attempt::Refused => {
                    // Without a retry policy it comes again at once.
                    end.run_until_cancelled(tokio::time::sleep(FIRST_PAUSE)).await;
                    break;
                }
                Attempt::NotYet => {}
            }
            let time_left = deadline.saturating_duration_since(Instant::now());
            let pause = pause_after(attempts).min(time_left);
            let is_over = end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none();
            if is_over || time_left.is_zero() {
                break;
            }
            received = self.deliveries.received().again();
        }
        self.metrics.count(PullResult::GivenBack);
        handler.nack();
    }

    async fn attempt(&self, message: &ReadMessage, received: Received) -> Attempt {
        let delivery = self.deliveries.deliver_message(received, message, Sender::PubSub);
        let Ok(delivered) = AssertUnwindSafe(delivery).catch_unwind().await else {
            tracing::error!("a delivery panicked: a bug of pushroll; the message is kept and tried again");
            return Attempt::NotYet;
        };
        match delivered.answer.status(self.poison) {
            200..=299 => Attempt::Done,
            503 => Attempt::NotYet,
            _ => Attempt::Refused,
        }
    }
}

/// Growing, and different for each message: messages that failed together must not be tried together again.
fn pause_after(attempts: u32) -> Duration {
    let growing = doubled(FIRST_PAUSE, attempts, LONGEST_PAUSE);
    let random = RandomState::new().hash_one(attempts) % 1000;
    growing.mul_f64(0.75 + 0.25 * (random as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        let between = |attempts, from, to| {
            for _ in 0..100 {
                let pause = pause_after(attempts);
                assert!((from..=to).contains(&pause), "{attempts}: {pause:?}");
            }
        };
        between(0, Duration::from_millis(750), FIRST_PAUSE);
        between(3, Duration::from_secs(6), Duration::from_secs(8));
        for attempts in [5, 31, 32, u32::MAX] {
            between(attempts, Duration::from_millis(22_500), LONGEST_PAUSE);
        }
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|_| pause_after(5)).collect();
        assert!(pauses.len() > 50, "{pauses:?}");
    }
}
