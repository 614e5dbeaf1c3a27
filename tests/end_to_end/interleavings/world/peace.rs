//! The end of a case: no more faults, every message is delivered until it is acknowledged, and what waits comes due.

use serde_json::json;

use super::super::model::Broken;
use super::World;

/// How often each unacknowledged message is delivered again in the end, without faults: far more than once.
const ROUNDS: usize = 5;

impl World {
    pub(super) async fn peace(&mut self) -> Result<(), Broken> {
        self.withheld.clear();
        self.replicas.iter().for_each(|running| running.stall.set(false));
        self.settle().await?;
        self.drain().await?;
        for name in self.model.names() {
            if self.model.object(&name).is_some_and(|object| object["spec"]["paused"] == true) {
                self.patch(&name, "owner", json!({"spec": {"paused": false}})).await;
            }
        }
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
            }
        }
        self.wait_out_cooldowns().await
    }

    pub(super) async fn wait_out_cooldowns(&mut self) -> Result<(), Broken> {
        for attempt in 0..=ROUNDS {
            let deferring = self.model.deferring();
            if deferring.is_empty() {
                return Ok(());
            }
            if attempt == ROUNDS {
                return Err(format!("what waits on {deferring:?} is never done"));
            }
            self.pass(60_000);
            if self.place.embedded.is_none() {
                for name in deferring {
                    let no_cooldown = json!({"metadata": {"annotations": {"pushroll.dev/cooldown": null}}});
                    self.patch(&name, "owner", no_cooldown).await;
                }
            }
            self.look(attempt).await?;
            self.drain().await?;
        }
        Ok(())
    }
}
