//! One delivery, from its bytes to its answer: the way through the house.
//!
//! ```text
//! event     bytes -> "this image was pushed"        or: nothing to do, and why
//! cache     who runs it?  restart at once what the index names, and meanwhile
//!           wait until an index proves that nothing was missed
//! rollout   restart exactly those, exactly once
//! answer    what was done, workload by workload, and the status that makes Pub/Sub ack or nack
//! ```
//!
//! The server and the command line are two doors to this room. It must not know HTTP servers.

pub mod answer;
mod args;
mod by_hand;
mod first_receipt;
mod own_pod;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::cache::proof::Need;
use crate::cache::resolver::Unproven;
use crate::cache::{LoadedIndex, Resolver};
use crate::clock::Clock;
use crate::event::{self, EnvelopeError, ImagePush, Message};
use crate::image::ImageRef;
use crate::rollout::record::is_believable;
use crate::rollout::restart::Mode;
use crate::rollout::{Action, Code, Push, Restarter, WorkloadResult};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{OutcomeLabel, TierLabel};
use crate::workload::WorkloadRef;
use answer::{Answer, AnswerCode, Outcome, Source};
pub use args::DeliveryArgs;
use first_receipt::FirstReceipts;
pub use own_pod::OwnPod;

/// How many answers [`Deliveries::recent`] remembers.
const RECENT_ANSWERS: usize = 50;
/// And with how many workloads in all: an answer of thousands pushes older ones out.
const RECENT_WORKLOADS: usize = 2_000;

/// Handles deliveries.
#[derive(Debug)]
pub struct Deliveries {
    config: DeliveryArgs,
    own_pod: Option<OwnPod>,
    clock: Clock,
    resolver: Arc<Resolver>,
    restarter: Restarter,
    metrics: Arc<Metrics>,
    recent: Mutex<VecDeque<Answer>>,
    first_receipts: FirstReceipts,
}

/// When a delivery came, by both kinds of clock.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    instant: Instant,
    time: Timestamp,
}

/// What the workloads of a push came to.
struct Resolved {
    source: Option<Arc<LoadedIndex>>,
    proven: bool,
    results: Vec<WorkloadResult>,
    unproven: Option<Unproven>,
}

impl Deliveries {
    /// Handles deliveries with this chain and this restarter. `own_pod` is the pod that this process runs in, if any:
    /// its workload is restarted last.
    pub fn new(
        config: DeliveryArgs,
        own_pod: Option<OwnPod>,
        clock: Clock,
        resolver: Arc<Resolver>,
        restarter: Restarter,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (recent, first_receipts) = (Mutex::default(), FirstReceipts::default());
        Self { config, own_pod, clock, resolver, restarter, metrics, recent, first_receipts }
    }

    /// To be called when a delivery arrives, before its body is read.
    pub fn received(&self) -> Received {
        Received { instant: Instant::now(), time: self.clock.now() }
    }

    /// Handles one delivery: `header` looks a header up by its lower-case name.
    ///
    /// # Errors
    /// The request is no delivery at all.
    pub async fn deliver<'h>(
        &self,
        received: Received,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        mode: Mode,
    ) -> Result<Answer, EnvelopeError> {
        let message = event::envelope::decode(header, body)?;
        if let Some(published) = message.published {
            self.resolver.observe_publish_time(published, received.time);
        }
        let mut answer = match event::artifact::decode(&message.data) {
            Err(not_for_us) => Answer::ignored(not_for_us),
            Ok(image_push) => self.push(received, image_push, &message, mode).await,
        };
        answer.message_id = message.id;
        answer.published = message.published;
        answer.subscription = message.subscription;
        answer.delivery_attempt = message.delivery_attempt;
        self.told(received, &answer);
        Ok(answer)
    }

    /// The last answers, the newest first.
    pub fn recent(&self) -> Vec<Answer> {
        self.recent.lock().iter().cloned().collect()
    }

    async fn push(&self, received: Received, pushed: ImagePush, message: &Message, mode: Mode) -> Answer {
        let published = message.published.filter(|published| is_believable(*published, received.time));
        let push = Push {
            image: pushed.image.clone(),
            digest: pushed.digest.clone(),
            published,
            received: received.time,
            message_id: message.id.clone(),
        };
        let resolved = self.resolve(received, &Arc::new(push), mode).await;
        let mut answer = self.answer(pushed.image, resolved, mode);
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

    /// Restarts all that run the image, and the workload that this process is part of when nothing is left to do of the
    /// others: it may end this process, and what is left then would wait for the next delivery.
    async fn resolve(&self, received: Received, push: &Arc<Push>, mode: Mode) -> Resolved {
        let mut own = self.own(self.resolver.current().as_deref(), &push.image);
        let mut resolved = self.resolve_others(received, push, mode).await;
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
            let deadline = received.instant + self.config.hold;
            let mut of_own = self.restarter.restart_all(&own, push, mode, deadline).await;
            let restarted = of_own.iter_mut().filter(|result| result.action() == Action::Restarted);
            restarted.for_each(|result| result.reason.push_str("; it is pushroll itself and comes last"));
            of_own
        };
        resolved.results.extend(of_own);
        resolved.results.sort_by_key(WorkloadResult::workload);
        resolved
    }

    /// Restarts what the index names and, unless that index is proven, what a proven one names besides.
    async fn resolve_others(&self, received: Received, push: &Arc<Push>, mode: Mode) -> Resolved {
        let deadline = received.instant + self.config.hold;
        let first = push.message_id.as_deref().map(|id| self.first_receipts.of(id, received.instant));
        let proof = Need::Proof { received: first.unwrap_or(received.instant), published: push.time() };
        let current = self.resolver.current();
        let proven = self.resolver.meets(current.as_deref(), &proof);
        let hits = current.as_ref().map_or_else(Vec::new, |loaded| self.others(loaded, &push.image));
        self.count_lookup(current.as_deref());

        if proven || (self.config.allow_stale && current.is_some()) {
            let results = self.restarter.restart_all(&hits, push, mode, deadline).await;
            return Resolved { source: current, proven, results, unproven: None };
        }
        let need = if self.config.allow_stale { Need::Any } else { proof };
        let (mut results, waited) =
            tokio::join!(self.restarter.restart_all(&hits, push, mode, deadline), self.wait_for(need, deadline));
        match waited {
            Err(unproven) => Resolved { source: current, proven: false, results, unproven: Some(unproven) },
            Ok(loaded) => {
                // Both are sorted: an index keeps its workloads so.
                let mut missed = self.others(&loaded, &push.image);
                missed.retain(|workload| hits.binary_search(workload).is_err());
                results.extend(self.restarter.restart_all(&missed, push, mode, deadline).await);
                results.sort_by_key(WorkloadResult::workload);
                let proven = matches!(need, Need::Proof { .. }) || self.resolver.meets(Some(&loaded), &proof);
                Resolved { source: Some(loaded), proven, results, unproven: None }
            }
        }
    }

    /// Who runs the image, but for this process's own workload.
    fn others(&self, loaded: &LoadedIndex, image: &ImageRef) -> Vec<WorkloadRef> {
        loaded.index.followers(image).iter().filter(|workload| !self.is_own(workload)).cloned().collect()
    }

    /// This process's own workload, where it runs the image.
    fn own(&self, loaded: Option<&LoadedIndex>, image: &ImageRef) -> Vec<WorkloadRef> {
        let followers = loaded.map_or(&[][..], |loaded| loaded.index.followers(image));
        followers.iter().filter(|workload| self.is_own(workload)).cloned().collect()
    }

    fn is_own(&self, workload: &WorkloadRef) -> bool {
        self.own_pod.as_ref().is_some_and(|pod| pod.is_of(workload))
    }

    async fn wait_for(&self, need: Need, deadline: Instant) -> Result<Arc<LoadedIndex>, Unproven> {
        self.metrics.held_pushes.inc();
        // A delivery whose connection breaks is dropped here: the count must not stay behind.
        let _held = Held(&self.metrics);
        self.resolver.wait_for(need, deadline).await
    }

    fn answer(&self, image: ImageRef, resolved: Resolved, mode: Mode) -> Answer {
        let Resolved { source, proven, results, unproven } = resolved;
        let mut answer = Answer::of_workloads(image, results, mode);
        answer.source = source.as_deref().map(|loaded| Source::of(loaded, proven, self.resolver.failed_tiers()));
        if let Some(unproven) = unproven {
            answer.outcome = Outcome::Failed;
            answer.code = Some(AnswerCode::NotProven);
            answer.reason = Some(match unproven {
                Unproven::Failed(reason) => format!("who else runs the image is not known: {reason}"),
                Unproven::TimedOut => format!(
                    "who else runs the image was not known within {:?}: the cluster is being scanned, and the next \
                     delivery finishes the job",
                    self.config.hold
                ),
            });
        } else if !proven {
            answer.warnings.push(
                "--allow-stale: the index is not proven for this push, and a workload that is younger than it may have \
                 been missed"
                    .to_owned(),
            );
        }
        answer
    }

    fn count_lookup(&self, loaded: Option<&LoadedIndex>) {
        let tier = loaded.map_or("none", |loaded| loaded.tier.as_str());
        self.metrics.lookups.get_or_create(&TierLabel { tier }).inc();
    }

    /// The log line, the metrics, the memory of it.
    fn told(&self, received: Received, answer: &Answer) {
        let took = received.instant.elapsed();
        self.metrics.pushes.get_or_create(&OutcomeLabel { outcome: answer.outcome.as_str() }).inc();
        self.metrics.push_duration.observe(took.as_secs_f64());
        let duration_ms = took.as_secs_f64() * 1000.0;
        let outcome = answer.outcome.as_str();
        let json = serde_json::to_string(answer).unwrap_or_default();
        if answer.outcome == Outcome::Failed {
            tracing::warn!(outcome, duration_ms, json.push = json, "push");
        } else {
            tracing::info!(outcome, duration_ms, json.push = json, "push");
        }
        let mut recent = self.recent.lock();
        recent.push_front(answer.clone());
        recent.truncate(RECENT_ANSWERS);
        while recent.len() > 1 && recent.iter().map(|answer| answer.workloads.len()).sum::<usize>() > RECENT_WORKLOADS {
            recent.pop_back();
        }
    }
}

struct Held<'a>(&'a Metrics);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held_pushes.dec();
    }
}
