//! What distinguishes one message from all others: redeliveries of a message have the same key, and nothing else has.

use jiff::Timestamp;

use crate::event::Message;

/// A message id is unique in its topic alone, and a hand-written event may carry any id. So the key is the subscription,
/// the id and the publish time together. A message that lacks one of them has no key: each delivery of it is a new
/// message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MessageKey {
    subscription: String,
    message_id: String,
    published: Timestamp,
}

impl MessageKey {
    /// The key of a message with this publish time; `None` for the time where it is missing or not to be believed.
    pub(super) fn of(message: &Message, published: Option<Timestamp>) -> Option<Self> {
        Some(Self {
            subscription: message.subscription.clone()?,
            message_id: message.id.clone()?,
            published: published?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::envelope::decode;

    fn key(subscription: &str, id: &str, published: &str) -> Option<MessageKey> {
        let body = format!(r#"{{"message":{{{id}{published}"data":""}},{subscription}"deliveryAttempt":1}}"#);
        let message = decode(|_| None, body.as_bytes()).unwrap();
        MessageKey::of(&message, message.published)
    }

    #[test]
    fn only_a_redelivery_has_the_same_key() {
        const SUBSCRIPTION: &str = r#""subscription":"projects/p/subscriptions/s","#;
        const ID: &str = r#""messageId":"1","#;
        const PUBLISHED: &str = r#""publishTime":"2026-11-20T09:16:40Z","#;
        let first = key(SUBSCRIPTION, ID, PUBLISHED).unwrap();
        assert_eq!(key(SUBSCRIPTION, ID, PUBLISHED), Some(first.clone()));
        for other in [
            key(r#""subscription":"projects/p/subscriptions/t","#, ID, PUBLISHED),
            key(SUBSCRIPTION, r#""messageId":"2","#, PUBLISHED),
            key(SUBSCRIPTION, ID, r#""publishTime":"2026-11-20T09:16:40.001Z","#),
        ] {
            assert!(other.is_some_and(|other| other != first));
        }
        for without in [key("", ID, PUBLISHED), key(SUBSCRIPTION, "", PUBLISHED), key(SUBSCRIPTION, ID, "")] {
            assert_eq!(without, None);
        }
    }
}
