//! What this process has seen done for each message that was not acknowledged yet: the next delivery of the message
//! begins with the rest.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::message_key::MessageKey;
use crate::image::ImageRef;
use crate::rollout::{SeenDone, WorkloadResult};

/// How many workloads are remembered over all messages, some 200 bytes each. The messages are forgotten first that have
/// not been delivered for the longest time. A redelivery of a forgotten one looks at its workloads again.
const WORKLOADS: usize = 20_000;

/// What was done for each message.
#[derive(Debug, Default)]
pub(super) struct DoneByMessage(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    by_message: HashMap<PushKey, Entry>,
    workloads: usize,
    deliveries: u64,
}

/// A message, and the image that it is about: a hand-written message may name any id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PushKey {
    message: MessageKey,
    image: Box<str>,
}

#[derive(Debug)]
struct Entry {
    done: SeenDone,
    /// The number of its last delivery.
    delivery: u64,
}

impl PushKey {
    pub(super) fn of(message: MessageKey, image: &ImageRef) -> Self {
        Self { message, image: image.tag_key().unwrap_or_default().into() }
    }

    pub(super) fn message(&self) -> &MessageKey {
        &self.message
    }
}

impl DoneByMessage {
    /// What was done at earlier deliveries.
    pub(super) fn of(&self, push: &PushKey) -> SeenDone {
        self.0.lock().by_message.get(push).map(|entry| entry.done.clone()).unwrap_or_default()
    }

    /// A delivery has ended with these results and comes again.
    pub(super) fn comes_again(&self, push: PushKey, results: &[WorkloadResult]) {
        let done = SeenDone::of(results, WORKLOADS);
        let mut remembered = self.0.lock();
        // Of two deliveries at once the one counts that knows more.
        let before = remembered.by_message.get(&push).map_or(0, |entry| entry.done.workloads());
        if done.workloads() > before {
            remembered.deliveries += 1;
            remembered.forget(&push);
            remembered.make_room_for(done.workloads());
            remembered.workloads += done.workloads();
            let delivery = remembered.deliveries;
            remembered.by_message.insert(push, Entry { done, delivery });
        }
    }

    /// The message is acknowledged.
    pub(super) fn acknowledged(&self, push: &PushKey) {
        self.0.lock().forget(push);
    }
}

impl Remembered {
    fn forget(&mut self, push: &PushKey) {
        if let Some(entry) = self.by_message.remove(push) {
            self.workloads -= entry.done.workloads();
        }
    }

    fn make_room_for(&mut self, workloads: usize) {
        while self.workloads + workloads > WORKLOADS {
            let oldest = self.by_message.iter().min_by_key(|(_, entry)| entry.delivery);
            let Some(oldest) = oldest.map(|(push, _)| push.clone()) else { return };
            self.forget(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::envelope::decode;
    use crate::rollout::Code;
    use crate::workload::{WorkloadKind, WorkloadRef};

    fn push(id: &str, image: &str) -> PushKey {
        let body = format!(
            r#"{{"message":{{"messageId":"{id}","publishTime":"2026-11-20T09:16:40Z"}},"subscription":"projects/p/subscriptions/s"}}"#
        );
        let message = decode(|_| None, body.as_bytes()).unwrap();
        PushKey::of(MessageKey::of(&message, message.published).unwrap(), &image.parse().unwrap())
    }

    fn results(workloads: usize) -> Vec<WorkloadResult> {
        let workload = |n| WorkloadRef::new("shop", WorkloadKind::Deployment, format!("web-{n}"));
        (0..workloads).map(|n| WorkloadResult::new(&workload(n), Code::RunsImage, "runs the image")).collect()
    }

    #[test]
    fn it_is_remembered_for_its_message_and_image_until_that_is_acknowledged() {
        let done = DoneByMessage::default();
        let known = |id, image| done.of(&push(id, image)).workloads();
        done.comes_again(push("1", "web:1"), &results(3));
        assert_eq!((known("1", "web:1"), known("2", "web:1"), known("1", "web:2")), (3, 0, 0));
        done.comes_again(push("1", "web:1"), &results(2));
        assert_eq!(known("1", "web:1"), 3, "what is known is not forgotten for a delivery that ended earlier");
        done.acknowledged(&push("1", "web:1"));
        assert_eq!((known("1", "web:1"), done.0.lock().workloads), (0, 0));
    }

    #[test]
    fn what_was_not_delivered_for_the_longest_time_is_forgotten_first() {
        let done = DoneByMessage::default();
        let known = |id| done.of(&push(id, "web:1")).workloads();
        done.comes_again(push("1", "web:1"), &results(10));
        done.comes_again(push("2", "web:1"), &results(10));
        done.comes_again(push("1", "web:1"), &results(11));
        done.comes_again(push("3", "web:1"), &results(WORKLOADS - 11));
        assert_eq!((known("1"), known("2"), known("3")), (11, 0, WORKLOADS - 11));
        done.comes_again(push("4", "web:1"), &results(WORKLOADS + 1));
        assert_eq!((known("1"), known("3"), known("4")), (0, 0, WORKLOADS));
        assert_eq!(done.0.lock().workloads, WORKLOADS);
    }
}
