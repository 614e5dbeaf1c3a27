//! When a message was first received. A scan that began after that is a proof for every redelivery of the message, too,
//! however long the scan takes and whatever the clocks say.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::message_key::MessageKey;

/// How many messages are remembered; the oldest are forgotten first. A redelivery of a forgotten one costs a scan.
const MESSAGES: usize = 4096;

/// The first receipt of the last messages.
#[derive(Debug, Default)]
pub(super) struct FirstReceipts(Mutex<Receipts>);

#[derive(Debug, Default)]
struct Receipts {
    by_key: HashMap<Arc<MessageKey>, Instant>,
    in_order: VecDeque<Arc<MessageKey>>,
}

impl FirstReceipts {
    /// When the message with this key was first received. `received` is the time of this delivery.
    pub(super) fn of(&self, key: &MessageKey, received: Instant) -> Instant {
        let mut receipts = self.0.lock();
        if let Some(first) = receipts.by_key.get(key) {
            return *first;
        }
        if receipts.in_order.len() == MESSAGES
            && let Some(oldest) = receipts.in_order.pop_front()
        {
            receipts.by_key.remove(&oldest);
        }
        let key = Arc::new(key.clone());
        receipts.by_key.insert(Arc::clone(&key), received);
        receipts.in_order.push_back(key);
        received
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn key(id: &str) -> MessageKey {
        let body = format!(r#"{{"message":{{"messageId":"{id}"}},"subscription":"projects/p/subscriptions/s"}}"#);
        let message = crate::event::envelope::decode(|_| None, body.as_bytes()).unwrap();
        MessageKey::of(&message, Some(Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn the_first_receipt_is_remembered_and_the_oldest_forgotten() {
        let receipts = FirstReceipts::default();
        let start = Instant::now();
        let at = |n: usize| start + Duration::from_secs(n as u64);
        assert_eq!(receipts.of(&key("a"), at(0)), at(0));
        assert_eq!(receipts.of(&key("a"), at(1)), at(0));
        for n in 0..MESSAGES {
            receipts.of(&key(&n.to_string()), at(2));
        }
        assert_eq!(receipts.of(&key("a"), at(3)), at(3));
    }
}
