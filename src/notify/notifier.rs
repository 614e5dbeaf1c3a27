//! Takes messages without waiting, and hands each to the queue of its sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::NotifyArgs;
use super::attempt::attempt;
use super::format::body;
use super::message::Message;
use super::metrics::{Counted, NotifyMetrics};
use super::queue::{Outcome, Queue, QueuedMessage};
use super::sink::{Sink, SinkKind};
use crate::clock::Clock;

/// Messages of a sink that may wait, of 64 KB at most each.
const WAITING: usize = 256;

/// Takes messages. Dropping it lets the queues send what they have.
#[derive(Debug)]
pub struct Notifier {
    sinks: BTreeMap<String, QueueSender>,
    source: String,
    metrics: NotifyMetrics,
}

#[derive(Debug)]
struct QueueSender {
    kind: SinkKind,
    messages: mpsc::Sender<QueuedMessage>,
}

/// The queues of all sinks: the half that works in the background.
#[derive(Debug)]
pub struct Queues {
    queues: Vec<(Sink, Queue)>,
    clock: Clock,
}

/// A message on its way. It goes on if nobody waits for it.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Outcome>);

impl Delivery {
    /// What became of it, as soon as that is known.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Outcome::Unfinished)
    }
}

impl Notifier {
    /// The two halves. Nothing is sent before [`Queues::run`].
    pub fn new(args: NotifyArgs, clock: Clock, metrics: NotifyMetrics) -> (Self, Queues) {
        let NotifyArgs { sinks, source } = args;
        let (mut senders, mut queues) = (BTreeMap::new(), Vec::new());
        for sink in sinks {
            metrics.show(&sink);
            let (sender, messages) = mpsc::channel(WAITING);
            senders.insert(sink.name.clone(), QueueSender { kind: sink.kind, messages: sender });
            let queue = Queue { name: sink.name.clone(), messages, metrics: metrics.clone() };
            queues.push((sink, queue));
        }
        (Self { sinks: senders, source, metrics }, Queues { queues, clock })
    }

    /// The names of the sinks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sinks.keys().map(String::as_str)
    }

    /// Takes a message without waiting.
    pub fn send(&self, message: &Message) -> Delivery {
        let (outcome, delivery) = oneshot::channel();
        let Message { id, what, to, push, .. } = message;
        let Some(QueueSender { kind, messages }) = self.sinks.get(to) else {
            tracing::warn!(notification = to, id, "notification given up: --notify names no such sink");
            let _ = outcome.send(Outcome::GivenUp);
            return Delivery(delivery);
        };
        let (id, image) = (id.clone(), push.image.clone());
        let body = body(*kind, message, &self.source);
        let queued_message = QueuedMessage { id, what: *what, image, body, queued: Instant::now(), outcome };
        match messages.try_send(queued_message) {
            // The queue has ended: the outcome is dropped with the message.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(QueuedMessage { id, what, image, outcome, .. })) => {
                self.metrics.count(to, Counted::Overflow);
                let what = what.as_str();
                tracing::warn!(
                    notification = to,
                    id,
                    what,
                    image,
                    "given up: {WAITING} messages already wait for this sink"
                );
                let _ = outcome.send(Outcome::GivenUp);
            }
        }
        Delivery(delivery)
    }
}

impl Queues {
    /// Sends messages until `end`, each sink on its own.
    pub async fn run(self, end: CancellationToken) {
        let clock = self.clock;
        join_all(self.queues.into_iter().map(|(Sink { name, target, .. }, queue)| {
            let end = end.clone();
            async move {
                if let Err(error) = target.url().await {
                    tracing::warn!(notification = name, "nothing can be sent yet: {error}");
                }
                let target = Arc::new(target);
                let attempt = |body| {
                    let target = Arc::clone(&target);
                    async move { attempt(&target, &body, clock).await }
                };
                queue.run(end, attempt).await;
            }
        }))
        .await;
        end.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(sinks: &[&str]) -> (Notifier, Queues, NotifyMetrics) {
        let sinks = sinks.iter().map(|sink| sink.parse().unwrap()).collect();
        let metrics = NotifyMetrics::default();
        let args = NotifyArgs { sinks, ..NotifyArgs::default() };
        let (notifier, queues) = Notifier::new(args, Clock::system(), metrics.clone());
        (notifier, queues, metrics)
    }

    #[tokio::test]
    async fn what_does_not_fit_is_given_up_at_once() {
        let (notifier, queues, metrics) = notifier(&["chat=slack:/nonexistent", "audit=cloudevents:/nonexistent"]);
        assert_eq!(notifier.names().collect::<Vec<_>>(), ["audit", "chat"]);
        let message = |to| Message::test(to, Clock::system().now());
        let waiting: Vec<Delivery> = (0..WAITING).map(|_| notifier.send(&message("chat"))).collect();
        assert_eq!(notifier.send(&message("chat")).outcome().await, Outcome::GivenUp);
        assert_eq!(metrics.counted("chat", Counted::Overflow), 1);
        let other = notifier.send(&message("audit"));
        assert_eq!(metrics.counted("audit", Counted::Overflow), 0, "the other sink has room");
        assert_eq!(notifier.send(&message("gone")).outcome().await, Outcome::GivenUp);
        let end = CancellationToken::new();
        end.cancel();
        queues.run(end).await;
        for delivery in waiting.into_iter().chain([other, notifier.send(&message("chat"))]) {
            assert_eq!(delivery.outcome().await, Outcome::Unfinished);
        }
    }
}
