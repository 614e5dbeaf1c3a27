//! `kubectl.kubernetes.io/restartedAt` of a pod template: the time of its last restart, to the second.

use jiff::{SignedDuration, Timestamp};

use super::RESTARTED_AT_ANNOTATION;
use super::record::Record;
use crate::clock::Clocks;
use crate::cluster::WorkloadObject;

/// The annotation as it is written.
pub(super) fn text(object: &WorkloadObject) -> Option<&str> {
    object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION).map(String::as_str)
}

/// When the workload was restarted, if the last restart was ours: by the API server's clock. All pods of this template
/// were created after that. It is a part of the template, so `kubectl rollout undo` brings it back only with the pods
/// that belong to it.
pub(super) fn of_ours(object: &WorkloadObject, record: &Record) -> Option<Timestamp> {
    text(object).filter(|text| record.is_of(text))?.parse().ok()
}

/// The value that a restart now should write: the API server's time as kubectl writes it, RFC 3339 to the second (in
/// kubectl's local zone; a pod's is UTC). Never the value that is there already: that would change nothing and roll
/// nothing, and the annotation would stay with its first writer. Nor one of a moment before, which a record may belong to.
pub(super) fn next(object: &WorkloadObject, clocks: Clocks<'_>) -> String {
    let now = clocks.server_now().as_second();
    let last = text(object).and_then(|text| text.parse::<Timestamp>().ok()).map(Timestamp::as_second);
    // A value further ahead was written by another clock.
    let is_recent = |last: &i64| (now..now + RESOLUTION.as_secs()).contains(last);
    let next = last.filter(is_recent).map_or(now, |last| last + 1);
    Timestamp::from_second(next).unwrap_or_default().to_string()
}

/// How much a value of [`next`] and a time that we read off the API server's clock may be off against each other: the
/// clock is known to a second, the value is cut to a second, and it may be a second ahead.
pub(super) const RESOLUTION: SignedDuration = SignedDuration::from_secs(4);
