//! The end of a case: no more faults, refusals and missing permissions, every message is delivered until it is
//! acknowledged, and what waits comes due.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::model::Broken;
use super::super::plan::Kind;
use super::{LIMIT, World};

/// How often each unacknowledged message is delivered again in the end, without faults, and how often everybody looks for
/// what waits: far more than once.
const ROUNDS: usize = 5;
/// The longest pause between two tries of what waits.
const PAUSE_MS: i64 = 10 * 60_000;

impl World {
    pub(super) async fn peace(&mut self) -> Result<(), Broken> {
        self.withheld.clear();
        self.replicas.iter().for_each(|running| running.stall.set(false));
        self.refusals.clear();
        self.meddling.retain(|_, meddling| !meddling.prevents_restarts());
        Kind::ALL.iter().for_each(|kind| self.forbid(*kind, false));
        self.settle().await?;
        self.drain().await?;
        for name in self.model.names() {
            if self.model.object(&name).is_some_and(|object| object["spec"]["paused"] == true) {
                self.patch(&name, "owner", json!({"spec": {"paused": false}})).await;
            }
        }
        self.roll_out_all();
        for round in 0..=ROUNDS {
            let left: Vec<usize> =
                (0..self.pushes.len()).filter(|message| !self.model.messages[*message].is_acknowledged).collect();
            if left.is_empty() {
                break;
            }
            if round == ROUNDS {
                return Err(format!("{left:?} are never acknowledged"));
            }
            for message in left {
                self.deliver(message, message + round).await?;
                self.drain().await?;
                self.roll_out_all();
            }
        }
        self.wait_for_what_waits().await
    }

    pub(super) async fn wait_for_what_waits(&mut self) -> Result<(), Broken> {
        let began = Instant::now();
        for attempt in 0.. {
            let deferring = self.model.deferring();
            if deferring.is_empty() && !self.model.keeps_for_unseen() {
                return Ok(());
            }
            // A watch sees again what it was not permitted to see in its own time.
            let is_over = if self.place.watches { began.elapsed() > LIMIT } else { attempt >= ROUNDS };
            if is_over {
                return Err(format!("what waits on {deferring:?}, or to be seen, is never done"));
            }
            self.pass(PAUSE_MS + 1000);
            if self.place.embedded.is_none() {
                for name in deferring {
                    let no_cooldown = json!({"metadata": {"annotations": {"pushroll.dev/cooldown": null}}});
                    self.patch(&name, "owner", no_cooldown).await;
                }
                // A replica that has just begun tries everything.
                let replica = attempt % self.replicas.len();
                self.gate.silence(self.replicas[replica].sender);
                self.replicas[replica] = self.start().await;
            }
            if self.place.watches && attempt > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.look(attempt).await?;
            self.drain().await?;
            self.roll_out_all();
            self.look_for_unseen(attempt).await?;
            self.drain().await?;
        }
        Ok(())
    }
}
