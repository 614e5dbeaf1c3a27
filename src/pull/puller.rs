//! Reads one subscription for as long as the service runs.
//!
//! ```text
//! connect: credentials, a look at the subscription ──► stream ──► messages, each a task of its own
//!    ▲                                                   │
//!    └── a pause where it failed ◄───────────────────────┘ ended, failed a later look, or silent for long
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use google_cloud_pubsub::subscriber::MessageStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::held_message::Delivering;
use super::unreadable::Unreadable;
use super::{PullArgs, PullMetrics, Subscription};
use crate::clock::Clock;
use crate::delivery::Deliveries;
use crate::delivery::answer::Poison;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So a permission that is given is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A stream that has lasted so long was not refused.
const SETTLED: Duration = Duration::from_secs(1);
/// After so long without an error the next pause is a short one again.
const STEADY: Duration = Duration::from_secs(60);
/// The stream shows no error when the server is gone, so other calls ask for it.
const LOOK_PERIOD: Duration = Duration::from_secs(30);
/// Pub/Sub ends a stream now and then. One that was opened this often without a message cannot be opened.
const OPENINGS: usize = 4;
const OPENINGS_PERIOD: Duration = Duration::from_secs(1);

/// Reads one subscription.
#[derive(Debug)]
pub struct Puller {
    args: PullArgs,
    subscription: Arc<Subscription>,
    delivering: Delivering,
    clock: Clock,
    drain_timeout: Duration,
}

/// What lasts longer than one stream.
#[derive(Debug)]
struct Work {
    /// A permit for each further message that may be held.
    slots: Arc<Semaphore>,
    /// The messages that are held, and the ends of streams.
    tasks: TaskTracker,
    end: CancellationToken,
}

/// A stream. When it is dropped it gives back what the client has leased and not handed out.
#[derive(Debug)]
struct OpenStream<'a> {
    client: &'a Client,
    stream: MessageStream,
    tasks: TaskTracker,
}

impl Puller {
    /// One that has not begun.
    pub fn new(
        args: PullArgs,
        subscription: Arc<Subscription>,
        deliveries: Arc<Deliveries>,
        (poison, clock, drain_timeout): (Poison, Clock, Duration),
        metrics: PullMetrics,
    ) -> Self {
        let delivering = Delivering { deliveries, poison, max_lease: args.pull_max_lease, metrics };
        Self { args, subscription, delivering, clock, drain_timeout }
    }

    /// Reads until `end`. Then it takes nothing new, finishes the attempts under way, gives the rest back, and returns
    /// when Pub/Sub knows, or when the drain timeout is over.
    pub async fn run(self, end: CancellationToken) {
        let max = usize::try_from(self.args.pull_max_messages).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let work = Work { slots: Arc::new(Semaphore::new(max)), tasks: TaskTracker::new(), end: end.clone() };
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let Some(read) = end.run_until_cancelled(self.read(&work)).await else { break };
            if read.is_ok() || began.elapsed() > STEADY {
                pause = FIRST_PAUSE;
            }
            let Err(why) = read else { continue };
            self.unreadable(&why);
            if end.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        work.tasks.close();
        if timeout(self.drain_timeout, work.tasks.wait()).await.is_err() {
            let held = self.subscription.status().held;
            tracing::warn!(
                subscription = %self.subscription.name(),
                "at the end of --drain-timeout {held} messages were still worked on, or Pub/Sub had not confirmed what \
                 became of the others: it delivers them again when their leases end"
            );
        }
    }

    /// Reads until it is time to connect anew, or until the subscription cannot be read.
    async fn read(&self, work: &Work) -> Result<(), Unreadable> {
        let client = Client::connect(&self.args, self.subscription.name()).await?;
        let stream = client.stream(self.args.pull_max_messages, self.args.pull_max_lease);
        let mut stream = OpenStream { client: &client, stream, tasks: work.tasks.clone() };
        tokio::select! {
            ended = self.receive(&mut stream, work) => ended,
            why = self.look_again(&client) => Err(why),
            why = does_not_open(&client) => Err(why),
        }
    }

    async fn receive(&self, stream: &mut OpenStream<'_>, work: &Work) -> Result<(), Unreadable> {
        let client = stream.client;
        let mut settled = std::pin::pin!(sleep(SETTLED));
        let mut is_settled = false;
        loop {
            // Never closed.
            let Ok(slot) = Arc::clone(&work.slots).acquire_owned().await else { return Ok(()) };
            // Kept while the timer fires: before the first answer each call of `next` opens the stream anew.
            let mut next = std::pin::pin!(timeout(self.args.pull_renew, stream.stream.next()));
            let next = tokio::select! {
                biased;
                next = &mut next => next,
                () = settled.as_mut(), if !is_settled => {
                    is_settled = true;
                    self.connected(client);
                    next.await
                }
            };
            let (message, handler) = match next {
                Err(_) => {
                    // Silent, but not refused.
                    self.connected(client);
                    return Ok(());
                }
                // Pub/Sub does this now and then.
                Ok(None) if is_settled => return Ok(()),
                Ok(None) => return Err(Unreadable::Refusing("it ended the stream at once".to_owned())),
                Ok(Some(Err(error))) => return Err(client.unreadable(&error)),
                Ok(Some(Ok(received))) => received,
            };
            is_settled = true;
            self.connected(client);
            let received = self.delivering.deliveries.received();
            let held = self.subscription.hold(self.clock.now());
            let message = client.message(message, &handler);
            let delivered = self.delivering.clone().deliver(message, handler, received, work.end.clone());
            work.tasks.spawn(async move {
                delivered.await;
                drop((held, slot));
            });
        }
    }

    /// Returns when two looks in a row have failed: one alone may be a passing fault.
    async fn look_again(&self, client: &Client) -> Unreadable {
        loop {
            sleep(LOOK_PERIOD).await;
            let mut looked = client.look().await;
            if looked.is_err() {
                sleep(FIRST_PAUSE).await;
                looked = client.look().await;
            }
            match looked {
                Ok(_) => self.connected(client),
                Err(why) => return why,
            }
        }
    }

    fn connected(&self, client: &Client) {
        if self.subscription.connected(self.clock.now()) {
            let subscription = self.subscription.name();
            tracing::info!(%subscription, "pulling");
            client.warning().into_iter().for_each(|warning| tracing::warn!(%subscription, "{warning}"));
        }
    }

    fn unreadable(&self, why: &Unreadable) {
        if self.subscription.unreadable(why.to_string(), self.clock.now()) {
            tracing::warn!(subscription = %self.subscription.name(), "the subscription cannot be read: {why}");
        }
    }
}

/// Returns when the stream has been opened again and again without a message. The client tries that by itself, and shows
/// no error.
async fn does_not_open(client: &Client) -> Unreadable {
    while !client.has_opened_in_vain(OPENINGS) {
        if client.has_messages() {
            return std::future::pending().await;
        }
        sleep(OPENINGS_PERIOD).await;
    }
    Unreadable::DoesNotOpen
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        // The client has leased what it has not handed out yet, and would extend those leases until all messages of this
        // stream are done.
        while self.client.has_messages()
            && let Some(Some(Ok((_, handler)))) = self.stream.next().now_or_never()
        {
            handler.nack();
        }
        let end = self.stream.shutdown_token();
        self.tasks.spawn(async move { end.shutdown().await });
    }
}
