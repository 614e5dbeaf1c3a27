//! Deliveries that a replica pulls from a subscription of its own, and what came of them. Pub/Sub is another process, so a
//! delivery has begun only when the replica holds the message; from then on all is as over HTTP.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pushroll::pull::Subscription;
use serde_json::Value;

use super::super::model::Broken;
use super::{LIMIT, World};
use crate::support::fixtures::PushMessage;
use crate::support::pulled::OwnSubscription;

pub(super) struct Pulled {
    pub(super) own: OwnSubscription,
    pub(super) subscription: Arc<Subscription>,
    /// That are known here.
    pub(super) answers: usize,
    /// Messages that were published and have no answer that is known here.
    pub(super) not_answered: u64,
}

impl World {
    /// Returns when the replica has it.
    pub(super) async fn pull(&mut self, message: usize, replica: usize) -> Result<(), Broken> {
        let message: &PushMessage = &self.pushes[message];
        let running = &mut self.replicas[replica];
        let Some(pulled) = &mut running.pulled else { return Ok(()) };
        let subscription = Arc::clone(&pulled.subscription);
        let held = || subscription.status().held;
        // What has failed is given back a little after its answer.
        until("a message is never given back", || held() == pulled.not_answered).await?;
        pulled.own.publish(message).await;
        pulled.not_answered += 1;
        let is_here = || held() == pulled.not_answered || running.replica.answers() > pulled.answers;
        until("a message is never pulled", is_here).await
    }

    /// What the replicas have answered since the last call.
    pub(super) fn collect_pulled(&mut self) {
        for running in &mut self.replicas {
            let Some(pulled) = &mut running.pulled else { continue };
            let before = std::mem::replace(&mut pulled.answers, running.replica.answers());
            for answer in running.replica.last_answers(pulled.answers - before) {
                let id = answer["message_id"].as_str().unwrap_or_default();
                let Some(message) = self.pushes.iter().position(|push| push.id == id) else { continue };
                let status = if answer["outcome"] == "failed" { 503 } else { 200 };
                let code = |result: &Value| format!("{} {}", result["name"], result["code"]);
                let codes: Vec<String> = answer["workloads"].as_array().into_iter().flatten().map(code).collect();
                self.answered.lock().unwrap().push((message, status, codes.join(", ")));
                pulled.not_answered -= 1;
                running.under_way.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

async fn until(otherwise: &str, is_so: impl Fn() -> bool) -> Result<(), Broken> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > LIMIT {
            return Err(otherwise.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
