//! Freshness: whether an index is *proven* for a push, so that what it does not name need not be looked for.
//!
//! A workload created after a push pulls the new image by itself; one created before it must be found. An
//! index proves that nothing was missed when it covers the whole scope and its scan began after the push:
//! either after we received it (causality, no clock), or after it was published, by the clocks.
//!
//! The clocks are two: `as_of` is the API server's, the publish time is Pub/Sub's. They are compared only
//! while the API server's clock is known to agree with ours, within the margin; a clock that is minutes off,
//! on either side, must cost a scan, never a missed workload.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::LoadedIndex;
use crate::cluster::server_clock::ServerClock;

/// What someone who waits for an index needs of it.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// Any index will do: the start of the service.
    Any,
    /// Nothing that existed at these times may be missing.
    Proof {
        /// When we received the push.
        received: Instant,
        /// When it was published, by Pub/Sub's clock.
        published: Timestamp,
    },
    /// A scan that began after this.
    Scan(Instant),
}

/// What the two clocks say.
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// What our own clock says now.
    pub now: Timestamp,
    /// What is known of the API server's.
    pub server: &'a ServerClock,
    /// How far apart clocks may be and still be compared.
    pub margin: Duration,
}

impl Need {
    /// Whether `loaded` is enough.
    pub fn is_met_by(&self, loaded: Option<&LoadedIndex>, clocks: Clocks<'_>) -> bool {
        let Some(loaded) = loaded else { return false };
        match *self {
            Self::Any => true,
            Self::Scan(after) => loaded.scan_began.is_some_and(|began| began >= after),
            Self::Proof { received, published } => {
                loaded.covers_scope
                    && (loaded.scan_began.is_some_and(|began| began >= received)
                        || loaded.as_of.is_some_and(|as_of| clocks.show_after(as_of, published)))
            }
        }
    }
}

impl Clocks<'_> {
    /// Whether `server_time`, by the API server's clock, is certainly later than `published`, by Pub/Sub's.
    pub fn show_after(&self, server_time: Timestamp, published: Timestamp) -> bool {
        self.server.agrees_within(self.margin)
            && server_time <= self.now
            && published.checked_add(self.margin).is_ok_and(|published| server_time > published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Tier;
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
            scan_began,
            loaded_at: at(0),
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
        let clocks = Clocks { now: at(100), server: &server, margin: Duration::from_secs(10) };
        let before = Instant::now();
        let after = before + Duration::from_millis(1);
        let need = |received| Need::Proof { received, published: at(1000) };
        assert!(need(before).is_met_by(Some(&loaded(None, Some(after))), clocks));
        assert!(!need(after).is_met_by(Some(&loaded(None, Some(before))), clocks));
        assert!(!need(before).is_met_by(None, clocks));
        let mut narrow = loaded(None, Some(after));
        narrow.covers_scope = false;
        assert!(!need(before).is_met_by(Some(&narrow), clocks));
    }

    #[test]
    fn a_document_proves_by_the_clocks_only_where_they_agree() {
        let need = Need::Proof { received: Instant::now(), published: at(50) };
        let proven = |as_of: i64, server: &ServerClock| {
            let clocks = Clocks { now: at(100), server, margin: Duration::from_secs(10) };
            need.is_met_by(Some(&loaded(Some(as_of), None)), clocks)
        };
        let agreeing = server_clock(0);
        assert!(proven(61, &agreeing));
        assert!(!proven(60, &agreeing), "within the margin");
        assert!(!proven(101, &agreeing), "in the future");
        assert!(!proven(90, &server_clock(300)) && !proven(90, &server_clock(-300)), "minutes apart");
        assert!(!proven(90, &ServerClock::unknown()));
    }
}
