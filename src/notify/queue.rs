//! The messages of one sink, in their order: each is tried until it is delivered or given up, then the next.
//!
//! One sink knows nothing of the others, so none waits for another.

use http::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{Failure, FailureKind};
use super::format::Body;
use super::message::What;
use super::metrics::{Counted, NotifyMetrics};
use super::retries::until_decided;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has it.
    Delivered,
    /// It will not be sent any more.
    GivenUp,
    /// The service ended before. Whatever replica takes over has to send it.
    Unfinished,
}

/// A message as it waits: already in the format of its sink, whose size is limited.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) id: String,
    pub(super) what: What,
    pub(super) image: String,
    pub(super) body: Body,
    pub(super) queued: Instant,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// The messages of a sink.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) messages: mpsc::Receiver<QueuedMessage>,
    pub(super) metrics: NotifyMetrics,
}

impl Queue {
    /// Sends what comes until `end`. What is left then has the outcome [`Outcome::Unfinished`].
    pub(super) async fn run<F: Future<Output = Result<StatusCode, Failure>>>(
        mut self,
        end: CancellationToken,
        attempt: impl Fn(Body) -> F,
    ) {
        // The last problem that was logged: a sink that is down makes one line, not one for each attempt.
        let mut logged = String::new();
        while let Some(Some(queued_message)) = end.run_until_cancelled(self.messages.recv()).await {
            let QueuedMessage { id, what, image, body, queued, outcome } = queued_message;
            let (name, what) = (&self.name, what.as_str());
            let mut attempts = 1;
            let failed = |failure: &Failure, pause| {
                attempts += 1;
                let no_url = failure.kind == FailureKind::NoUrl;
                self.metrics.count(name, if no_url { Counted::NoUrl } else { Counted::Retried });
                if failure.reason == logged {
                    tracing::debug!(notification = name, id, "not delivered, tried again in {pause:?}: {failure}");
                } else {
                    tracing::warn!(notification = name, id, "not delivered, tried again in {pause:?}: {failure}");
                    logged.clone_from(&failure.reason);
                }
            };
            let deciding = until_decided(queued, || attempt(body.clone()), failed);
            let Some(decided) = end.run_until_cancelled(deciding).await else {
                // Its outcome is dropped with it.
                tracing::info!(
                    notification = name,
                    waiting = self.messages.len() + 1,
                    "stopped with messages that are not delivered: the replica that follows next sends them"
                );
                break;
            };
            let seconds = queued.elapsed().as_secs_f64();
            // Nobody may wait for the outcome.
            let _ = match decided {
                Ok(status) => {
                    logged.clear();
                    self.metrics.count(name, Counted::Delivered);
                    let status = status.as_u16();
                    tracing::info!(
                        notification = name,
                        id,
                        what,
                        image,
                        status,
                        attempts,
                        seconds,
                        "notification delivered"
                    );
                    outcome.send(Outcome::Delivered)
                }
                Err(failure) => {
                    let refused = failure.kind == FailureKind::Refused;
                    self.metrics.count(name, if refused { Counted::Refused } else { Counted::GivenUp });
                    tracing::warn!(
                        notification = name,
                        id,
                        what,
                        image,
                        attempts,
                        seconds,
                        "notification given up: {failure}"
                    );
                    outcome.send(Outcome::GivenUp)
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;

    /// A queue, its end, and a way to put messages into it.
    struct Stage {
        messages: mpsc::Sender<QueuedMessage>,
        metrics: NotifyMetrics,
        end: CancellationToken,
        /// The body of each attempt, with the second in which it was made.
        attempts: Arc<Mutex<Vec<(String, u64)>>>,
    }

    impl Stage {
        /// Answers each attempt with what `answer` makes of the body.
        fn begin(answer: fn(&str) -> Result<StatusCode, FailureKind>) -> Self {
            let (messages, receiver) = mpsc::channel(10);
            let (metrics, end) = (NotifyMetrics::default(), CancellationToken::new());
            let queue = Queue { name: "chat".to_owned(), messages: receiver, metrics: metrics.clone() };
            let attempts = Arc::new(Mutex::new(Vec::new()));
            let (made, began) = (Arc::clone(&attempts), Instant::now());
            let attempt = move |body: Body| {
                let text = String::from_utf8_lossy(&body.bytes).into_owned();
                let answer = answer(&text);
                made.lock().push((text, began.elapsed().as_secs()));
                async move {
                    let failure = |kind| Failure { kind, reason: "no".to_owned(), retry_after: None };
                    answer.map_err(failure)
                }
            };
            tokio::spawn(queue.run(end.clone(), attempt));
            Self { messages, metrics, end, attempts }
        }

        fn put(&self, text: &'static str) -> oneshot::Receiver<Outcome> {
            let (outcome, delivery) = oneshot::channel();
            let body = Body { content_type: "text/plain", bytes: text.into() };
            let (id, image, queued) = (text.to_owned(), String::new(), Instant::now());
            let queued_message = QueuedMessage { id, what: What::Ended, image, body, queued, outcome };
            self.messages.try_send(queued_message).map_err(|_| "full").unwrap();
            delivery
        }

        fn counted(&self) -> [u64; 5] {
            [Counted::Delivered, Counted::Retried, Counted::NoUrl, Counted::Refused, Counted::GivenUp]
                .map(|result| self.metrics.counted("chat", result))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_message_ends_delivered_or_given_up() {
        let stage = Stage::begin(|body| match body {
            "refused" => Err(FailureKind::Refused),
            "later" => Err(FailureKind::NotNow),
            "no url" => Err(FailureKind::NoUrl),
            _ => Ok(StatusCode::OK),
        });
        assert_eq!(stage.put("good").await, Ok(Outcome::Delivered));
        assert_eq!(stage.put("refused").await, Ok(Outcome::GivenUp));
        let (later, after) = (stage.put("later"), stage.put("good"));
        let began = Instant::now();
        assert_eq!(later.await, Ok(Outcome::GivenUp));
        assert_eq!(began.elapsed().as_secs(), 3600);
        assert_eq!(after.await, Ok(Outcome::Delivered), "what waited behind it is tried");
        let retries = stage.attempts.lock().iter().filter(|(body, _)| body == "later").count() as u64 - 1;
        assert_eq!(stage.counted(), [2, retries, 0, 1, 1]);
        assert_eq!(stage.put("no url").await, Ok(Outcome::GivenUp));
        assert_eq!(stage.counted(), [2, retries, retries, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_at_the_end_is_not_claimed() {
        let stage = Stage::begin(|_| Err(FailureKind::NotNow));
        let (first, second) = (stage.put("one"), stage.put("two"));
        tokio::time::sleep(Duration::from_secs(10)).await;
        stage.end.cancel();
        assert!(first.await.is_err() && second.await.is_err());
        assert_eq!(stage.counted(), [0, 4, 0, 0, 0]);
        let attempts = stage.attempts.lock().clone();
        assert_eq!(attempts.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [0, 1, 3, 7]);
    }
}
