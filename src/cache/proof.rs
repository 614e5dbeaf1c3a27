//! Freshness: whether an index is *proven* for a push, so that no workload outside it need be looked for.
//!
//! A workload created after a push pulls the new image by itself; one created before it must be found. An
//! index proves that nothing was missed when it covers the whole scope and its scan began after the push:
//! either after we received the push (no clock is needed), or after it was published, by the clocks. An index of a live
//! watch is proven for every push ([`super::watch`] says where that falls short).
//!
//! Parts of the scope that could not be seen are proven each by their own time, or are excused
//! ([`super::unseen`]).
//!
//! The clocks are two: `as_of` is the API server's, the publish time is Pub/Sub's. They are compared only while
//! both are known to agree with ours ([`Clocks`], [`PublisherClock`]). A clock that is minutes off, ours or another, may
//! cost a scan, but never a missed workload.

use std::time::Instant;

use jiff::Timestamp;

use super::loaded_index::LoadedIndex;
use super::unseen::UnseenParts;
use crate::clock::{Clocks, PublisherClock};
use crate::index::document::PartAsOf;

/// How good an index must be.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// Any index will do: the start of the service.
    Any,
    /// It must not miss a workload that existed when a push was published and received.
    Proof {
        /// When we received the push.
        received: Instant,
        /// When it was published, by Pub/Sub's clock.
        published: Timestamp,
    },
    /// A scan that began after this.
    ScanSince(Instant),
}

/// By which an index is judged.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) clocks: Clocks<'a>,
    pub(super) publisher: &'a PublisherClock,
    pub(super) unseen: &'a UnseenParts,
}

impl Judge<'_> {
    /// Whether `loaded` is enough for `need`.
    pub(super) fn is_met(&self, need: &Need, loaded: Option<&LoadedIndex>) -> bool {
        let Some(loaded) = loaded else { return false };
        match *need {
            Need::Any => true,
            Need::ScanSince(after) => loaded.scan_began.is_some_and(|began| began >= after),
            Need::Proof { received, published } => {
                loaded.covers_scope
                    && (loaded.is_live()
                        || loaded.scan_began.is_some_and(|began| began >= received)
                        || self.shows_after(loaded.as_of, published))
                    && self.unproven_parts(need, loaded).all(|unseen| self.unseen.is_excused(&unseen.part))
            }
        }
    }

    /// The parts that `loaded` has not seen, and that are not proven for `need` by their own time.
    pub(super) fn unproven_parts<'l>(
        &self,
        need: &Need,
        loaded: &'l LoadedIndex,
    ) -> impl Iterator<Item = &'l PartAsOf> {
        let is_proven = move |unseen: &&PartAsOf| match *need {
            Need::Proof { published, .. } => self.shows_after(unseen.as_of, published),
            Need::Any | Need::ScanSince(_) => false,
        };
        loaded.unseen.iter().filter(move |unseen| !is_proven(unseen))
    }

    fn shows_after(&self, as_of: Option<Timestamp>, published: Timestamp) -> bool {
        self.publisher.agrees(self.clocks.now) && as_of.is_some_and(|as_of| self.clocks.show_after(as_of, published))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::cache::Tier;
    use crate::cache::unseen::ForbiddenPart;
    use crate::clock::{Clock, ServerClock};
    use crate::index::{Index, Part};
    use crate::workload::WorkloadKind;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn loaded(as_of: Option<i64>, scan_began: Option<Instant>) -> LoadedIndex {
        LoadedIndex {
            index: Index::default(),
            tier: Tier::Scan,
            as_of: as_of.map(at),
            covers_scope: true,
            is_narrower: false,
            scan_began,
            loaded_at: at(0),
            watch: None,
            unseen: Vec::new(),
        }
    }

    fn is_met(need: Need, loaded: Option<&LoadedIndex>, clocks: Clocks<'_>, publisher: &PublisherClock) -> bool {
        let unseen = UnseenParts::new(Duration::ZERO, Clock::system(), Gauge::default());
        Judge { clocks, publisher, unseen: &unseen }.is_met(&need, loaded)
    }

    fn server_clock(ahead: i64) -> ServerClock {
        let clock = ServerClock::unknown();
        let date = at(100 + ahead).to_zoned(jiff::tz::TimeZone::UTC);
        clock.observe(&jiff::fmt::rfc2822::to_string(&date).unwrap(), at(100), at(100));
        clock
    }

    #[test]
    fn a_scan_that_began_after_the_push_needs_no_clock() {
        let server = ServerClock::unknown();
        let publisher = PublisherClock::unknown();
        let margin = Duration::from_secs(10);
        let clocks = Clocks { now: at(100), server: &server, margin };
        let before = Instant::now();
        let after = before + Duration::from_millis(1);
        let need = |received| Need::Proof { received, published: at(1000) };
        assert!(is_met(need(before), Some(&loaded(None, Some(after))), clocks, &publisher));
        assert!(!is_met(need(after), Some(&loaded(None, Some(before))), clocks, &publisher));
        assert!(!is_met(need(before), None, clocks, &publisher));
        let mut narrow = loaded(None, Some(after));
        narrow.covers_scope = false;
        assert!(!is_met(need(before), Some(&narrow), clocks, &publisher));
    }

    #[test]
    fn a_document_proves_by_the_clocks_only_where_they_agree() {
        let need = Need::Proof { received: Instant::now(), published: at(50) };
        let margin = Duration::from_secs(10);
        let publisher = PublisherClock::unknown();
        let proven = |as_of: i64, server: &ServerClock| {
            let clocks = Clocks { now: at(100), server, margin };
            is_met(need, Some(&loaded(Some(as_of), None)), clocks, &publisher)
        };
        let agreeing = server_clock(0);
        assert!(!proven(61, &agreeing), "no delivery was prompt yet: ours and the API server's may both be ahead");
        publisher.observe(at(98), at(99), margin);
        assert!(proven(61, &agreeing));
        assert!(!proven(60, &agreeing), "within the margin");
        assert!(!proven(101, &agreeing), "in the future");
        assert!(!proven(90, &server_clock(300)) && !proven(90, &server_clock(-300)), "minutes apart");
        assert!(!proven(90, &ServerClock::unknown()));
    }

    #[test]
    fn a_part_that_was_not_seen_needs_a_proof_of_its_own_or_is_excused_after_the_grace() {
        let (server, publisher, margin) = (server_clock(0), PublisherClock::unknown(), Duration::from_secs(10));
        publisher.observe(at(98), at(99), margin);
        let part = Part::new(WorkloadKind::Deployment, Some("gone"));
        let forbidden = [ForbiddenPart { part: part.clone(), reason: "no".to_owned() }];
        let received = Instant::now();
        let is_met = |part_as_of: Option<i64>, published: i64, grace: Option<u64>| {
            let unseen =
                UnseenParts::new(Duration::from_secs(grace.unwrap_or(3600)), Clock::system(), Gauge::default());
            if grace.is_some() {
                unseen.scope_listed(&forbidden);
            }
            let judge = Judge {
                clocks: Clocks { now: at(100), server: &server, margin },
                publisher: &publisher,
                unseen: &unseen,
            };
            let mut loaded = loaded(Some(99), Some(received));
            loaded.unseen = vec![PartAsOf { part: part.clone(), as_of: part_as_of.map(at) }];
            judge.is_met(&Need::Proof { received, published: at(published) }, Some(&loaded))
        };
        assert!(is_met(Some(61), 50, None), "as of its own time");
        assert!(!is_met(Some(60), 50, None) && !is_met(None, 50, None));
        assert!(!is_met(None, 50, Some(3600)), "within the grace");
        assert!(is_met(None, 50, Some(0)));
    }
}
