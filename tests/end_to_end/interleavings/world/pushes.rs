//! The registry and Pub/Sub: what a tag points to, and the messages that tell of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::model::Broken;
use super::super::plan::{Content, TAGS};
use super::{World, image};
use crate::support::fixtures::{PushMessage, digest};

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
                before.unwrap_or(fresh)
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
        let replica = replica % self.replicas.len();
        let running = &mut self.replicas[replica];
        let answered = Arc::clone(&self.answered);
        self.trace.push(format!("   {} goes to {}", self.pushes[message].id, running.sender));
        let under_way = Arc::clone(&running.under_way);
        under_way.fetch_add(1, Ordering::SeqCst);
        if running.pulled.is_some() {
            self.pull(message, replica).await?;
            return self.settle().await;
        }
        running.replica.deliver(&self.pushes[message], async move |status, answer| {
            let codes: Vec<String> =
                answer.workloads.iter().map(|result| format!("{} {:?}", result.name, result.code)).collect();
            answered.lock().unwrap().push((message, status, codes.join(", ")));
            under_way.fetch_sub(1, Ordering::SeqCst);
        });
        self.settle().await
    }
}
