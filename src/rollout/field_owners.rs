//! Who wrote which field of a workload. The API server keeps that in `metadata.managedFields`, which shows whether
//! someone has restarted or undone after us.
//!
//! Measured on Kubernetes 1.36: our PATCH owns both annotations; `kubectl rollout restart` takes `restartedAt`,
//! `kubectl rollout undo` takes both; `pause`, `resume` and `scale` take neither.

use jiff::Timestamp;

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
