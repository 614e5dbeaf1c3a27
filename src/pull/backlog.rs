//! What a subscription holds now, read to its end: for a dead-letter subscription.

use std::time::Duration;

use google_cloud_pubsub::subscriber::MessageStream;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::time::timeout;

use super::client::Client;
use super::unreadable::Unreadable;
use super::{PullArgs, SubscriptionName};
use crate::event::Message;

/// No message for so long at the start: the subscription is empty. Pub/Sub may take seconds for the first one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// No further message for so long: there are no more.
const NEXT_WAIT: Duration = Duration::from_secs(3);
/// Longest wait at the end, until Pub/Sub knows what is acknowledged.
const CLOSE_LIMIT: Duration = Duration::from_secs(20);

/// A subscription that is read to its end.
#[derive(Debug)]
pub(crate) struct Backlog {
    client: Client,
    stream: MessageStream,
}

/// A message of it, under lease until it is acknowledged or given back.
#[derive(Debug)]
pub(crate) struct Lease(Handler);

impl Lease {
    /// It is done.
    pub(crate) fn acknowledge(self) {
        self.0.ack();
    }

    /// It stays in the subscription.
    pub(crate) fn give_back(self) {
        self.0.nack();
    }
}

impl Backlog {
    /// Begins to read.
    ///
    /// # Errors
    /// The subscription cannot be read.
    pub(crate) async fn open(args: &PullArgs, subscription: &SubscriptionName) -> Result<Self, Unreadable> {
        let client = Client::connect(args, subscription).await?;
        let stream = client.stream(args.pull_max_messages, args.pull_max_lease);
        Ok(Self { client, stream })
    }

    /// The next messages, at most `max`; none where there are no more.
    ///
    /// # Errors
    /// The subscription cannot be read any more.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Vec<(Message, Lease)>, Unreadable> {
        let mut messages = Vec::new();
        while messages.len() < max {
            let wait = if self.client.has_messages() { NEXT_WAIT } else { FIRST_WAIT };
            match timeout(wait, self.stream.next()).await {
                Err(_) if self.client.has_opened_in_vain(2) => return Err(Unreadable::DoesNotOpen),
                Err(_) => break,
                Ok(None) => return Err(Unreadable::Refusing("it ended the stream".to_owned())),
                Ok(Some(Err(error))) => return Err(self.client.unreadable(&error)),
                Ok(Some(Ok((message, handler)))) => {
                    messages.push((self.client.message(message, &handler), Lease(handler)));
                }
            }
        }
        Ok(messages)
    }

    /// Returns when Pub/Sub knows what became of each message. All leases are gone by then. Whether it was in time.
    pub(crate) async fn close(self) -> bool {
        let end = self.stream.shutdown_token();
        drop(self.stream);
        timeout(CLOSE_LIMIT, end.shutdown()).await.is_ok()
    }
}
