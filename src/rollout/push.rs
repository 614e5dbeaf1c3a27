//! A push, and the order of pushes.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::image::{Digest, ImageRef};

/// A push, with what a restart needs of it.
#[derive(Debug, Clone)]
pub struct Push {
    /// The image, with the tag that was moved.
    pub image: ImageRef,
    /// What the tag points to now.
    pub digest: Option<Digest>,
    /// When it was published, by Pub/Sub's clock. Without it the push has no place in the order of pushes, and a
    /// redelivery of it cannot be distinguished from a new push.
    pub published: Option<Timestamp>,
    /// When we received it, by our clock.
    pub received: Timestamp,
    /// The id of its message.
    pub message_id: Option<String>,
    /// Whether Pub/Sub's clock is known to agree with ours, so that [`Self::published`] can be compared with other times.
    pub clock_agrees: bool,
    /// Since when it waits in our ConfigMap, by the API server's clock; `None` for a push that has just come.
    pub waiting_since: Option<Timestamp>,
}

/// The order of pushes: by publish time, then by message id. Ids are decimal numbers without a fixed length, so a longer
/// one is greater; that any order is kept matters more than which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOrder<'a> {
    published: Timestamp,
    message_id: &'a str,
}

impl Push {
    /// Its place among the pushes of the same image: a newer push has a greater one.
    pub(crate) fn order(&self) -> Option<PushOrder<'_>> {
        PushOrder::of(self.published, self.message_id.as_deref())
    }

    /// When it was published, or received where that is not known.
    pub fn time(&self) -> Timestamp {
        self.published.unwrap_or(self.received)
    }
}

impl<'a> PushOrder<'a> {
    /// Of a push with this publish time and message id. Without a publish time it has no place in the order.
    pub fn of(published: Option<Timestamp>, message_id: Option<&'a str>) -> Option<Self> {
        Some(Self { published: published?, message_id: message_id.unwrap_or_default() })
    }
}

impl PartialOrd for PushOrder<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PushOrder<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let id = |order: &Self| (order.message_id.len(), order.message_id.to_owned());
        self.published.cmp(&other.published).then_with(|| id(self).cmp(&id(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(published: &str, id: &'static str) -> PushOrder<'static> {
        PushOrder::of(published.parse().ok(), Some(id)).unwrap()
    }

    #[test]
    fn pushes_are_ordered_by_time_then_by_id() {
        assert!(order("2026-11-20T09:16:40.380Z", "9") < order("2026-11-20T09:16:40.381Z", "1"));
        assert!(order("2026-11-20T09:16:40.380Z", "9") < order("2026-11-20T09:16:40.380Z", "10"));
        assert_eq!(order("2026-11-20T09:16:40.380Z", "9"), order("2026-11-20T09:16:40.38Z", "9"));
    }
}
