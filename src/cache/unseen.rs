//! The parts of the scope that this process cannot see, because their LIST is forbidden: the permission is missing, or
//! the namespace is gone and its RoleBinding with it.
//!
//! A push waits for such a part at first: a role may be about to be applied again. After `--unseen-grace` the part no
//! longer holds up the others. The time counts from when this process first found the part unseen, so a fresh replica
//! counts anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;

use crate::clock::Clock;
use crate::index::Part;
use crate::index::document::PartAsOf;

/// A part of the scope that is missing from an index, or whose entries in it are of an earlier time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnseenPart {
    /// The part.
    #[serde(flatten)]
    pub part: Part,
    /// The time as of which the entries of the part are complete; absent where it was never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Since when this process cannot see it; absent where only the document says that it could not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What the API server answered, which names the missing permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A part whose LIST was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForbiddenPart {
    /// The part.
    pub part: Part,
    /// What the API server answered, which names the missing permission.
    pub reason: String,
}

/// A part that cannot be seen now.
#[derive(Debug, Clone)]
struct Unseen {
    since: Instant,
    since_time: Timestamp,
    forbidden: ForbiddenPart,
}

/// The parts that cannot be seen now. Logs each change once.
#[derive(Debug)]
pub(super) struct UnseenParts {
    grace: Duration,
    clock: Clock,
    /// Read without a lock.
    parts: ArcSwap<Vec<Unseen>>,
    writing: Mutex<()>,
    count: Gauge,
}

/// `deployments in the namespace shop cannot be seen: not permitted: ...`
pub fn describe(parts: &[UnseenPart]) -> String {
    let names = Part::describe(parts.iter().map(|unseen| &unseen.part));
    match parts.iter().find_map(|unseen| unseen.reason.as_deref()) {
        Some(reason) => format!("{names} cannot be seen: {reason}"),
        None => format!("{names} could not be seen when the index was made"),
    }
}

/// As a scan has it.
impl From<ForbiddenPart> for UnseenPart {
    fn from(ForbiddenPart { part, reason }: ForbiddenPart) -> Self {
        Self { part, as_of: None, since: None, reason: Some(reason) }
    }
}

/// As a document has it.
impl From<PartAsOf> for UnseenPart {
    fn from(PartAsOf { part, as_of }: PartAsOf) -> Self {
        Self { part, as_of, since: None, reason: None }
    }
}

impl UnseenParts {
    /// None yet. A part that cannot be seen for `grace` holds up no push any more. `count` shows how many there are.
    pub(super) fn new(grace: Duration, clock: Clock, count: Gauge) -> Self {
        Self { grace, clock, parts: ArcSwap::default(), writing: Mutex::default(), count }
    }

    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// Those that cannot be seen now.
    pub(super) fn all(&self) -> Vec<UnseenPart> {
        self.parts.load().iter().map(|unseen| unseen.shown(None)).collect()
    }

    /// A part as an index lacks it.
    pub(super) fn show(&self, part: &PartAsOf) -> UnseenPart {
        let parts = self.parts.load();
        let known = parts.iter().find(|unseen| unseen.forbidden.part == part.part);
        known.map_or_else(|| part.clone().into(), |unseen| unseen.shown(part.as_of))
    }

    pub(super) fn has(&self, part: &Part) -> bool {
        self.parts.load().iter().any(|unseen| unseen.forbidden.part == *part)
    }

    /// Whether a push no longer waits for this part.
    pub(super) fn is_excused(&self, part: &Part) -> bool {
        let parts = self.parts.load();
        parts.iter().any(|unseen| unseen.forbidden.part == *part && unseen.since.elapsed() >= self.grace)
    }

    /// All parts of the scope were listed; these are forbidden.
    pub(super) fn scope_listed(&self, forbidden: &[ForbiddenPart]) {
        self.listed(|_| true, forbidden);
    }

    /// One part was listed, or is forbidden for this reason.
    pub(super) fn part_listed(&self, part: &Part, forbidden: Option<String>) {
        let forbidden = forbidden.map(|reason| ForbiddenPart { part: part.clone(), reason });
        self.listed(|listed| listed == part, forbidden.as_slice());
    }

    /// Of the parts that were listed, these are forbidden.
    fn listed(&self, is_listed: impl Fn(&Part) -> bool, forbidden: &[ForbiddenPart]) {
        let _writing = self.writing.lock();
        let before = self.parts.load_full();
        let (now, now_time) = (Instant::now(), self.clock.now());
        let others = before.iter().filter(|unseen| !is_listed(&unseen.forbidden.part)).cloned();
        let forbidden = forbidden.iter().map(|forbidden| {
            let known = before.iter().find(|unseen| unseen.forbidden.part == forbidden.part);
            let (since, since_time) = known.map_or((now, now_time), |unseen| (unseen.since, unseen.since_time));
            Unseen { since, since_time, forbidden: forbidden.clone() }
        });
        let mut after: Vec<_> = others.chain(forbidden).collect();
        after.sort_by(|one, other| one.forbidden.part.cmp(&other.forbidden.part));
        log_change(&before, &after);
        self.count.set(i64::try_from(after.len()).unwrap_or(i64::MAX));
        self.parts.store(Arc::new(after));
    }
}

/// A change of the reason alone is no news.
fn log_change(before: &[Unseen], after: &[Unseen]) {
    let only_in = |some: &[Unseen], others: &[Unseen]| -> Vec<UnseenPart> {
        let is_known = |part: &Part| others.iter().any(|other| other.forbidden.part == *part);
        some.iter().filter(|unseen| !is_known(&unseen.forbidden.part)).map(|unseen| unseen.shown(None)).collect()
    };
    let (lost, regained) = (only_in(after, before), only_in(before, after));
    if !lost.is_empty() {
        tracing::warn!("{}", describe(&lost));
    }
    if !regained.is_empty() {
        tracing::info!("{} can be seen again", Part::describe(regained.iter().map(|unseen| &unseen.part)));
    }
}

impl Unseen {
    fn shown(&self, as_of: Option<Timestamp>) -> UnseenPart {
        let ForbiddenPart { part, reason } = self.forbidden.clone();
        UnseenPart { part, as_of, since: Some(self.since_time), reason: Some(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WorkloadKind;

    fn forbidden(namespace: &str) -> ForbiddenPart {
        ForbiddenPart { part: Part::new(WorkloadKind::Deployment, Some(namespace)), reason: "no".to_owned() }
    }

    #[test]
    fn a_part_is_excused_after_the_grace_and_its_time_begins_anew_when_it_was_seen() {
        let (a, b) = (forbidden("a"), forbidden("b"));
        let (now, later) =
            (UnseenParts::new(Duration::ZERO, Clock::system(), Gauge::default()), Duration::from_secs(3600));
        now.scope_listed(&[b.clone(), a.clone()]);
        assert!(now.is_excused(&a.part) && now.is_excused(&b.part));
        now.part_listed(&a.part, None);
        assert!(!now.is_excused(&a.part) && now.is_excused(&b.part), "of b nothing was said");
        assert!(!now.has(&a.part) && now.has(&b.part));

        let waiting = UnseenParts::new(later, Clock::system(), Gauge::default());
        waiting.scope_listed(std::slice::from_ref(&a));
        let since = waiting.parts.load()[0].since;
        waiting.scope_listed(&[ForbiddenPart { reason: "still".to_owned(), ..a.clone() }]);
        assert_eq!((waiting.parts.load()[0].since, waiting.is_excused(&a.part)), (since, false));
        let show = |part: &Part| waiting.show(&PartAsOf { part: part.clone(), as_of: None });
        let shown = show(&a.part);
        assert_eq!(shown.reason.as_deref(), Some("still"));
        assert!(show(&b.part).reason.is_none());
        assert_eq!(describe(&[shown]), "deployments in the namespace a cannot be seen: still");
    }
}
