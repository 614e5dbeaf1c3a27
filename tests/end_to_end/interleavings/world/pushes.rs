//! The registry and Pub/Sub: what a tag points to, and the messages that tell of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;

use super::super::model::Broken;
use super::super::plan::{Content, TAGS};
use super::{World, image};
use crate::support::fixtures::{PushMessage, digest};

/// As `--clock-margin`: what is further apart is certain.
const MARGIN_MS: i64 = 10_000;

impl World {
    pub(super) fn publish(&mut self, tag: usize, content: Content) {
        self.pass(10);
        let now = self.now();
        let history = &self.tags[tag];
        let fresh = history.iter().map(|(byte, _)| *byte).max().unwrap_or_default().saturating_add(TAGS as u8);
        let current = history[history.len() - 1].0;
        let byte = match content {
            Content::Fresh => fresh,
            Content::Same => current,
            Content::Back => {
                let before = history.iter().rev().map(|(byte, _)| *byte).find(|byte| *byte != current);
                before.filter(|byte| !leaves_a_doubt(history, *byte)).unwrap_or(fresh)
            }
        };
        self.tags[tag].push((byte, now.as_millisecond()));
        let image = image(&self.place, tag);
        let id = (100_000 + self.pushes.len()).to_string();
        self.model.publish(id.clone(), &image, digest(byte), format!("{now:.3}"));
        self.trace.push(format!("   {id}: {image} is {byte:02x} at {now:.3}"));
        self.pushes.push(PushMessage { image, digest: digest(byte), id, published: now });
    }

    pub(super) async fn deliver(&mut self, message: usize, replica: usize) -> Result<(), Broken> {
        let count = self.replicas.len();
        let lag = self.now().duration_since(self.pushes[message].published);
        self.model.messages[message].was_prompt |= lag <= SignedDuration::from_millis(MARGIN_MS);
        let running = &mut self.replicas[replica % count];
        let answered = Arc::clone(&self.answered);
        self.trace.push(format!("   {} goes to {}", self.pushes[message].id, running.sender));
        let under_way = Arc::clone(&running.under_way);
        under_way.fetch_add(1, Ordering::SeqCst);
        running.replica.deliver(&self.pushes[message], async move |status, answer| {
            let codes: Vec<String> =
                answer.workloads.iter().map(|result| format!("{} {:?}", result.name, result.code)).collect();
            answered.lock().unwrap().push((message, status, codes.join(", ")));
            under_way.fetch_sub(1, Ordering::SeqCst);
        });
        self.settle().await
    }
}

/// The one thing that is known to be missed (ARCHITECTURE.md, "Why a push rolls a workload exactly once"): a tag that
/// moves from one digest to another, and within the margin back, and then to the other once more.
fn leaves_a_doubt(history: &[(u8, i64)], byte: u8) -> bool {
    let came = |place: &usize| history[*place].0 == byte;
    (0..history.len()).filter(came).any(|place| {
        let (before, after) = (&history[..place], &history[place + 1..]);
        let is_soon = |since: i64| SignedDuration::from_millis(since) <= SignedDuration::from_millis(MARGIN_MS);
        after.iter().any(|(other, at)| {
            *other != byte && is_soon(at - history[place].1) && before.iter().any(|(earlier, _)| earlier == other)
        })
    })
}
