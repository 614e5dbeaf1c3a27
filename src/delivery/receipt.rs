//! The receipt of a delivery, and what is known from earlier deliveries of the same message.

use std::time::Instant;

use jiff::Timestamp;

use super::answer::Answer;
use super::done_by_message::{DoneByMessage, PushKey};
use super::first_receipt::FirstReceipts;
use crate::rollout::SeenDone;

/// When a delivery came, by both kinds of clock.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    pub(super) instant: Instant,
    pub(super) time: Timestamp,
    /// The message was kept since it came: this is another attempt.
    pub(super) is_again: bool,
}

impl Received {
    /// For another attempt with a message that was kept.
    pub fn again(self) -> Self {
        Self { is_again: true, ..self }
    }
}

/// The receipt of a push.
#[derive(Debug)]
pub(super) struct Receipt {
    /// This delivery of it.
    pub(super) received: Received,
    /// When the first one came.
    pub(super) first: Instant,
    /// What they have done.
    pub(super) done: SeenDone,
    /// By what it is known when it is delivered again.
    key: Option<PushKey>,
}

/// What is known of the messages that have come.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    first: FirstReceipts,
    done: DoneByMessage,
}

impl Receipt {
    /// One of which no other delivery is known.
    pub(super) fn only(received: Received) -> Self {
        Self { received, first: received.instant, done: SeenDone::default(), key: None }
    }
}

impl Receipts {
    /// A push has come. Without a key each delivery is a new message.
    pub(super) fn received(&self, received: Received, key: Option<PushKey>) -> Receipt {
        match key {
            None => Receipt::only(received),
            Some(key) => Receipt {
                received,
                first: self.first.of(key.message(), received.instant),
                done: self.done.of(&key),
                key: Some(key),
            },
        }
    }

    /// The push is answered.
    pub(super) fn answered(&self, receipt: Receipt, answer: &Answer) {
        match receipt.key {
            Some(key) if answer.is_left_to_the_next_delivery() => self.done.comes_again(key, &answer.workloads),
            Some(key) => self.done.acknowledged(&key),
            None => {}
        }
    }
}
