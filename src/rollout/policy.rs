//! Which workloads pushroll may touch: by namespace, label and annotation.

use super::code::Code;
use super::selector::LabelSelector;
use super::workload_result::Leave;
use crate::cluster::WorkloadObject;
use crate::index::Scope;
use crate::workload::WorkloadRef;

/// On a workload. `"false"`: never restart it. `"true"`: restart it under `--opt-in` too.
pub const RESTART_ANNOTATION: &str = "pushroll.dev/restart";

/// The limits that the operator and the workloads' owners set.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `--namespaces`
    pub scope: Scope,
    /// `--exclude-namespaces`
    pub excluded_namespaces: Vec<String>,
    /// `--selector`, for the workload's own labels.
    pub selector: Option<LabelSelector>,
    /// `--opt-in`
    pub opt_in: bool,
}

impl Policy {
    /// Every workload may be restarted that does not opt out.
    pub fn everything() -> Self {
        Self { scope: Scope::AllNamespaces, excluded_namespaces: Vec::new(), selector: None, opt_in: false }
    }

    /// Why a workload is left because of its namespace. That needs no look at it, which may not even be permitted.
    pub fn refuses_namespace(&self, workload: &WorkloadRef) -> Option<Leave> {
        let namespace = &*workload.namespace;
        if !self.scope.includes(namespace) {
            return Some(Leave::new(Code::OutOfScope, format!("its namespace {namespace} is not one of --namespaces")));
        }
        self.excluded_namespaces.iter().any(|excluded| excluded == namespace).then(|| {
            Leave::new(Code::OutOfScope, format!("its namespace {namespace} is excluded by --exclude-namespaces"))
        })
    }

    /// Why a workload is left because of its annotations and labels.
    pub fn refuses(&self, object: &WorkloadObject) -> Option<Leave> {
        let annotation = object.metadata.annotations.get(RESTART_ANNOTATION).map(String::as_str);
        match annotation {
            Some("false") => {
                return Some(Leave::new(Code::OptedOut, format!("its annotation {RESTART_ANNOTATION} is \"false\"")));
            }
            None if self.opt_in => {
                let reason = format!("--opt-in is on, and it has no annotation {RESTART_ANNOTATION}: \"true\"");
                return Some(Leave::new(Code::OutOfScope, reason));
            }
            None | Some("true") => {}
            Some(other) => {
                let other: String = other.chars().take(40).collect();
                let reason = format!(
                    "its annotation {RESTART_ANNOTATION} is {other:?}, neither \"true\" nor \"false\": taken as \"false\""
                );
                return Some(Leave::new(Code::OptedOut, reason));
            }
        }
        let selector = self.selector.as_ref()?;
        (!selector.matches(&object.metadata.labels))
            .then(|| Leave::new(Code::OutOfScope, format!("its labels do not match --selector {selector}")))
    }
}
