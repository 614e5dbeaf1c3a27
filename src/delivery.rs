//! One delivery, from its bytes to its answer.
//!
//! ```text
//! event     bytes -> "this image was pushed", or why there is nothing to do
//! cache     which workloads run it: those that the index names are restarted at once, and meanwhile the push waits
//!           until an index proves that none was missed
//! rollout   restarts exactly these, exactly once
//! answer    what was done for each workload, and the status that makes Pub/Sub ack or nack
//! ```
//!
//! The server and the command line call it. It must not know HTTP servers.

pub mod answer;
mod args;
mod by_hand;
mod done_by_message;
mod first_receipt;
mod message_key;
mod metrics;
pub mod others;
mod own_pod;
mod pinned;
mod read_message;
mod receipt;
mod recent;
mod resolved;
mod sender;
mod unseen;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::proof::Need;
use crate::cache::resolver::Unproven;
use crate::cache::{LoadedIndex, Resolver};
use crate::clock::Clock;
use crate::event::{self, EnvelopeError, ImagePush, Message};
use crate::image::ImageRef;
use crate::rollout::record::is_believable;
use crate::rollout::restart::Mode;
use crate::rollout::waiting::Waiting;
use crate::rollout::{Action, Code, KnownBefore, Push, Restarter, WorkloadResult};
use crate::telemetry::Serialized;
use crate::workload::WorkloadRef;
use answer::{Answer, Outcome};
pub use args::DeliveryArgs;
use done_by_message::PushKey;
use message_key::MessageKey;
pub use metrics::DeliveryMetrics;
pub use own_pod::OwnPod;
pub use read_message::ReadMessage;
pub use receipt::Received;
use receipt::{Receipt, Receipts};
use recent::RecentAnswers;
use resolved::Resolved;
pub use sender::Sender;

/// Handles deliveries.
#[derive(Debug)]
pub struct Deliveries {
    config: DeliveryArgs,
    own_pod: Option<OwnPod>,
    clock: Clock,
    resolver: Arc<Resolver>,
    restarter: Restarter,
    waiting: Option<Arc<Waiting>>,
    metrics: DeliveryMetrics,
    recent: RecentAnswers,
    receipts: Receipts,
}

/// An answer, and its JSON as it was logged.
#[derive(Debug)]
pub struct Delivered {
    /// What came of the delivery.
    pub answer: Answer,
    /// The same, serialised.
    pub json: Serialized,
}

impl Deliveries {
    /// Handles deliveries with this chain and this restarter. `own_pod` is the pod that this process runs in, if any:
    /// its workload is restarted last. `waiting` keeps the pushes for parts of the scope that cannot be seen.
    pub fn new(
        config: DeliveryArgs,
        own_pod: Option<OwnPod>,
        clock: Clock,
        resolver: Arc<Resolver>,
        restarter: Restarter,
        waiting: Option<Arc<Waiting>>,
        metrics: DeliveryMetrics,
    ) -> Self {
        let (recent, receipts) = (RecentAnswers::default(), Receipts::default());
        Self { config, own_pod, clock, resolver, restarter, waiting, metrics, recent, receipts }
    }

    /// To be called when a delivery arrives, before its body is read.
    pub fn received(&self) -> Received {
        Received { instant: Instant::now(), time: self.clock.now(), is_again: false }
    }

    /// Handles one delivery: `header` looks a header up by its lower-case name.
    ///
    /// # Errors
    /// The request is not a delivery at all.
    pub async fn deliver<'h>(
        &self,
        received: Received,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        sender: Sender,
    ) -> Result<Delivered, EnvelopeError> {
        let message = ReadMessage::of(event::envelope::decode(header, body)?);
        Ok(self.deliver_message(received, &message, sender).await)
    }

    /// Handles one delivery of a message.
    pub async fn deliver_message(&self, received: Received, message: &ReadMessage, sender: Sender) -> Delivered {
        let ReadMessage { message, push } = message;
        if let Some(published) = message.published.filter(|_| sender.vouches()) {
            self.resolver.observe_publish_time(published, received.time);
        }
        let mut answer = match push {
            Err(not_for_us) => Answer::ignored(not_for_us.clone()),
            Ok(image_push) => self.push(received, image_push.clone(), message, sender).await,
        };
        answer.message_id = message.id.clone();
        answer.published = message.published;
        answer.subscription = message.subscription.clone();
        answer.delivery_attempt = message.delivery_attempt;
        self.record(received, answer)
    }

    /// The last answers, the newest first.
    pub fn recent(&self) -> Vec<Serialized> {
        self.recent.all()
    }

    /// What deliveries count.
    pub(crate) fn metrics(&self) -> &DeliveryMetrics {
        &self.metrics
    }

    async fn push(&self, received: Received, pushed: ImagePush, message: &Message, sender: Sender) -> Answer {
        let published = message.published.filter(|published| is_believable(*published, received.time));
        let push = Push {
            image: pushed.image.clone(),
            digest: pushed.digest.clone(),
            published,
            received: received.time,
            message_id: message.id.clone(),
            clock_agrees: self.resolver.publisher_agrees(received.time),
            waiting_since: None,
        };
        let key = MessageKey::of(message, published).filter(|_| sender.vouches());
        let receipt = self.receipts.received(received, key.map(|key| PushKey::of(key, &pushed.image)));
        let resolved = self.resolve(&receipt, &Arc::new(push), sender.mode()).await;
        let mut answer = self.answer(pushed.image, resolved, sender.mode());
        self.receipts.answered(receipt, &answer);
        answer.digest = pushed.digest;
        answer.warnings.extend(pushed.warning);
        if published.is_none() {
            let why = match message.published {
                None => "the message has no publish time".to_owned(),
                Some(published) => format!("the message's publish time, {published}, is more than an hour ahead"),
            };
            answer.warnings.push(format!("{why}: a redelivery of it cannot be told from a new push"));
        }
        answer
    }

    /// Restarts all workloads that run the image. The workload of this process comes last, when the others are done:
    /// its restart may end this process, and what is not done by then would wait for the next delivery.
    async fn resolve(&self, receipt: &Receipt, push: &Arc<Push>, mode: Mode) -> Resolved {
        let mut own = self.own(self.resolver.current().as_deref(), &push.image);
        let (mut resolved, proof) = self.resolve_others(receipt, push, mode).await;
        let deadline = receipt.received.instant + self.config.hold;
        self.keep_for_unseen(&mut resolved, &proof, push, mode, deadline).await;
        own.extend(self.own(resolved.source.as_deref(), &push.image));
        own.sort_unstable();
        own.dedup();
        if own.is_empty() {
            return resolved;
        }
        let is_left = |result: &WorkloadResult| result.code.is_transient_failure();
        let of_own = if resolved.unproven.is_some() || resolved.results.iter().any(is_left) {
            let reason = "it is pushroll itself and comes last: others are left to the next delivery";
            let waits = |workload| WorkloadResult::new(workload, Code::OthersFirst, reason);
            own.iter().map(waits).collect()
        } else {
            let known = KnownBefore { done: Some(&receipt.done), index: None };
            let mut of_own = self.restarter.restart_all(&own, push, mode, deadline, known).await;
            let restarted = of_own.iter_mut().filter(|result| result.action() == Action::Restarted);
            restarted.for_each(|result| result.reason.push_str("; it is pushroll itself and comes last"));
            of_own
        };
        resolved.results.extend(of_own);
        resolved.leave_to_kept_push();
        WorkloadResult::sort(&mut resolved.results);
        resolved
    }

    /// Restarts what the index names and, unless that index is proven, what a proven one names besides.
    async fn resolve_others(&self, receipt: &Receipt, push: &Arc<Push>, mode: Mode) -> (Resolved, Need) {
        let deadline = receipt.received.instant + self.config.hold;
        let proof = Need::Proof { received: receipt.first, published: push.time() };
        let current = self.resolver.current();
        let proven = self.resolver.meets(current.as_deref(), &proof);
        let hits = current.as_ref().map_or_else(Vec::new, |loaded| self.others(loaded, &push.image));
        let known = KnownBefore { index: current.as_ref().map(|loaded| &loaded.index), done: Some(&receipt.done) };
        self.metrics.count_lookup(current.as_ref().map(|loaded| loaded.tier));

        if proven || (self.config.allow_stale && current.is_some()) {
            let results = self.restarter.restart_all(&hits, push, mode, deadline, known).await;
            return (Resolved::new(current, proven, results, None), proof);
        }
        let need = if self.config.allow_stale { Need::Any } else { proof };
        let restarts = self.restarter.restart_all(&hits, push, mode, deadline, known);
        let (mut results, waited) = tokio::join!(restarts, self.wait_for(need, deadline));
        let resolved = match waited {
            Err(unproven) => Resolved::new(current, false, results, Some(unproven)),
            Ok(loaded) => {
                // Both are sorted: an index keeps its workloads so.
                let mut missed = self.others(&loaded, &push.image);
                missed.retain(|workload| hits.binary_search(workload).is_err());
                let known = KnownBefore { index: Some(&loaded.index), ..known };
                results.extend(self.restarter.restart_all(&missed, push, mode, deadline, known).await);
                WorkloadResult::sort(&mut results);
                let proven = matches!(need, Need::Proof { .. }) || self.resolver.meets(Some(&loaded), &proof);
                Resolved::new(Some(loaded), proven, results, None)
            }
        };
        (resolved, proof)
    }

    /// The workloads that run the image, without this process's own.
    fn others(&self, loaded: &LoadedIndex, image: &ImageRef) -> Vec<WorkloadRef> {
        loaded.index.followers(image).iter().filter(|workload| !self.is_own(workload)).cloned().collect()
    }

    /// This process's own workload, if it runs the image.
    fn own(&self, loaded: Option<&LoadedIndex>, image: &ImageRef) -> Vec<WorkloadRef> {
        let (Some(_), Some(loaded)) = (&self.own_pod, loaded) else { return Vec::new() };
        loaded.index.followers(image).iter().filter(|workload| self.is_own(workload)).cloned().collect()
    }

    fn is_own(&self, workload: &WorkloadRef) -> bool {
        self.own_pod.as_ref().is_some_and(|pod| pod.is_of(workload))
    }

    async fn wait_for(&self, need: Need, deadline: Instant) -> Result<Arc<LoadedIndex>, Unproven> {
        let _held = self.metrics.hold_push();
        self.resolver.wait_for(need, deadline).await
    }

    /// The answer, which also names the workloads that run the image by digest alone: they are left as they are.
    fn answer(&self, image: ImageRef, resolved: Resolved, mode: Mode) -> Answer {
        let mut resolved = resolved;
        let index = resolved.source.as_ref().map(|loaded| &loaded.index);
        index.into_iter().for_each(|index| pinned::add(&mut resolved.results, index, &image));
        resolved.into_answer(image, mode, self.resolver.failed_tiers(), self.config.hold)
    }

    /// Logs, counts and remembers an answer.
    fn record(&self, received: Received, answer: Answer) -> Delivered {
        let took = received.instant.elapsed();
        self.metrics.count_push(answer.outcome, took);
        let json = Serialized::of(&answer);
        let (outcome, duration_ms) = (answer.outcome.as_str(), took.as_secs_f64() * 1000.0);
        let push: &(dyn Error + 'static) = &json;
        if answer.outcome == Outcome::Failed && received.is_again {
            // The first attempt is shown, and the one that is the end of it. A thousand kept messages would be a flood.
            tracing::debug!(outcome, duration_ms, json.push = push, "push, another attempt");
            return Delivered { answer, json };
        }
        if answer.outcome == Outcome::Failed {
            tracing::warn!(outcome, duration_ms, json.push = push, "push");
        } else {
            tracing::info!(outcome, duration_ms, json.push = push, "push");
        }
        self.recent.add(json.clone(), answer.workloads.len());
        Delivered { answer, json }
    }
}

impl From<Answer> for Delivered {
    fn from(answer: Answer) -> Self {
        Self { json: Serialized::of(&answer), answer }
    }
}
