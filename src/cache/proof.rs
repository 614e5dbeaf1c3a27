//! Freshness: whether an index is *proven* for a push, so that no workload outside it need be looked for.
//!
//! A workload created after a push pulls the new image by itself; one created before it must be found. An
//! index proves that nothing was missed when it covers the whole scope and its scan began after the push:
//! either after we received the push (no clock is needed), or after it was published, by the clocks. An index of a live
//! watch is proven for every push ([`super::watch`] says where that falls short).
//!
//! The clocks are two: `as_of` is the API server's, the publish time is Pub/Sub's. They are compared only while
//! both are known to agree with ours ([`Clocks`], [`PublisherClock`]). A clock that is minutes off, ours or another, may
//! cost a scan, but never a missed workload.

use std::time::Instant;

use jiff::Timestamp;

use super::loaded_index::LoadedIndex;
use crate::clock::{Clocks, PublisherClock};

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

impl Need {
    /// Whether `loaded` is enough.
    pub fn is_met_by(&self, loaded: Option<&LoadedIndex>, clocks: Clocks<'_>, publisher: &PublisherClock) -> bool {
        let Some(loaded) = loaded else { return false };
        match *self {
            Self::Any => true,
            Self::ScanSince(after) => loaded.scan_began.is_some_and(|began| began >= after),
            Self::Proof { received, published } => {
                loaded.covers_scope
                    && (loaded.is_live()
                        || loaded.scan_began.is_some_and(|began| began >= received)
                        || publisher.agrees(clocks.now)
                            && loaded.as_of.is_some_and(|as_of| clocks.show_after(as_of, published)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::Tier;
    use crate::clock::ServerClock;
    use crate::index::Index;

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
        }
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
        assert!(need(before).is_met_by(Some(&loaded(None, Some(after))), clocks, &publisher));
        assert!(!need(after).is_met_by(Some(&loaded(None, Some(before))), clocks, &publisher));
        assert!(!need(before).is_met_by(None, clocks, &publisher));
        let mut narrow = loaded(None, Some(after));
        narrow.covers_scope = false;
        assert!(!need(before).is_met_by(Some(&narrow), clocks, &publisher));
    }

    #[test]
    fn a_document_proves_by_the_clocks_only_where_they_agree() {
        let need = Need::Proof { received: Instant::now(), published: at(50) };
        let margin = Duration::from_secs(10);
        let publisher = PublisherClock::unknown();
        let proven = |as_of: i64, server: &ServerClock| {
            let clocks = Clocks { now: at(100), server, margin };
            need.is_met_by(Some(&loaded(Some(as_of), None)), clocks, &publisher)
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
}
