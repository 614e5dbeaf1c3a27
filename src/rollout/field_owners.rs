//! Who wrote which field of a workload. The API server keeps that in `metadata.managedFields`, which shows whether
//! someone has restarted or undone after us.
//!
//! Measured on Kubernetes 1.36: our PATCH owns both annotations; `kubectl rollout restart` takes `restartedAt`,
//! `kubectl rollout undo` takes both; `pause`, `resume` and `scale` take neither.

use jiff::Timestamp;

use super::record::RECORD_ANNOTATION;
use super::{FIELD_MANAGER, RESTARTED_AT_ANNOTATION};
use crate::cluster::WorkloadObject;
use crate::cluster::workload_object::ManagedFields;

/// The field managers of a workload's pod template.
#[derive(Debug)]
pub(super) struct TemplateOwners<'a>(&'a [ManagedFields]);

impl<'a> TemplateOwners<'a> {
    pub(super) fn of(object: &'a WorkloadObject) -> Self {
        Self(&object.metadata.managed_fields)
    }

    /// The owners of an annotation of the pod template: several, if they applied the same value.
    fn of_annotation(&self, key: &str) -> impl Iterator<Item = &'a ManagedFields> {
        self.0.iter().filter(move |entry| entry.template_annotations.iter().any(|owned| owned == key))
    }

    /// Whether nobody has touched the pod template since our own restart: both annotations are ours alone, and
    /// no other manager that owns something in the template has changed anything later.
    ///
    /// A manager's time is renewed by every change that it makes, so the answer may be no where the template was not
    /// touched; that costs one rollout. Times have a resolution of one second. A change in the same second as ours counts
    /// as earlier, else the answer for a workload that is restarted as soon as it is created would always be no.
    pub(super) fn untouched_since_ours(&self) -> bool {
        let is_ours = |entry: &ManagedFields| entry.manager == FIELD_MANAGER;
        let ours_alone = |key| {
            let mut owners = self.of_annotation(key).peekable();
            owners.peek().is_some() && owners.all(is_ours)
        };
        let our_time =
            self.of_annotation(RECORD_ANNOTATION).filter(|entry| is_ours(entry)).filter_map(|e| e.time).max();
        ours_alone(RESTARTED_AT_ANNOTATION)
            && ours_alone(RECORD_ANNOTATION)
            && self.0.iter().filter(|entry| !is_ours(entry)).all(|entry| entry.time <= our_time)
    }

    /// Our entry, if we own `restartedAt`: then its time is that of our last restart.
    pub(super) fn restarted_by_us(&self) -> Option<&'a ManagedFields> {
        self.of_annotation(RESTARTED_AT_ANNOTATION).find(|entry| entry.manager == FIELD_MANAGER)
    }

    /// The owner of `restartedAt`, if it is not we: its name, and when it last changed anything, by the API server's clock.
    pub(super) fn restarted_by_other(&self) -> Option<(&'a str, Timestamp)> {
        if self.restarted_by_us().is_some() {
            return None;
        }
        let mut owners = self.of_annotation(RESTARTED_AT_ANNOTATION);
        owners.find_map(|entry| Some((entry.manager.as_str(), entry.time?)))
    }
}
