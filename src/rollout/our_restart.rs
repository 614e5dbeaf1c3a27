//! The restart that a pod template shows, if it is ours.

use jiff::Timestamp;

use super::decision::record_of;
use super::record::{Record, RecordedPush};
use super::restarted_at;
use super::waiting::KeptRecord;
use crate::cluster::WorkloadObject;

/// The last push of each image that a workload was restarted for; `None` where its record cannot be read. `kept` is its
/// record beside the pod template, `now` our clock.
pub fn last_pushes(object: &WorkloadObject, kept: Option<&KeptRecord>, now: Timestamp) -> Option<Record> {
    let (record, is_readable) = record_of(object, kept, now);
    let kept = kept.map(|kept| kept.record.clone().believed(now));
    // A template that was put back has no trace of the restart.
    is_readable.then(|| kept.iter().fold(record, Record::not_older_than))
}

/// A restart of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurRestart {
    /// The template's `restartedAt`.
    pub restarted_at: String,
    /// The pushes that it was for, each with its image's normalised reference.
    pub pushes: Vec<(String, RecordedPush)>,
}

impl OurRestart {
    /// The last restart of a workload, unless somebody else has made it. `kept` is its record where the pod template does
    /// not keep it, `now` our clock.
    pub fn of(object: &WorkloadObject, kept: Option<&KeptRecord>, now: Timestamp) -> Option<Self> {
        let restarted_at = restarted_at::text(object)?;
        let (record, _) = record_of(object, kept, now);
        let pushes: Vec<_> = record.of_restart(restarted_at).collect();
        (!pushes.is_empty()).then(|| Self { restarted_at: restarted_at.to_owned(), pushes })
    }
}
