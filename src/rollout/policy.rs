//! Which workloads pushroll may touch: by namespace, label and annotation.

use super::selector::LabelSelector;
use crate::cluster::WorkloadObject;
use crate::index::Scope;
use crate::workload::WorkloadRef;

/// On a workload: `"false"`: never restart it; `"true"`: also under `--opt-in`.
pub const RESTART_ANNOTATION: &str = "pushroll.dev/restart";

/// The limits that the operator and the workloads' owners set.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `--namespaces`
    pub scope: Scope,
    /// `--exclude-namespaces`
    pub excluded_namespaces: Vec<String>,
    /// `--selector`, on the workload's own labels.
    pub selector: Option<LabelSelector>,
    /// `--opt-in`
    pub opt_in: bool,
}

/// Why a workload may not be touched.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its owner says so.
    OptedOut(String),
    /// The operator says so.
    OutOfScope(String),
}

impl Policy {
    /// Everything may be restarted that does not opt out.
    pub fn everything() -> Self {
        Self { scope: Scope::AllNamespaces, excluded_namespaces: Vec::new(), selector: None, opt_in: false }
    }

    /// What its namespace says, which needs no look at the workload (and we may not be permitted one).
    pub fn refuses_namespace(&self, workload: &WorkloadRef) -> Option<Refusal> {
        let namespace = &*workload.namespace;
        if !self.scope.includes(namespace) {
            return Some(Refusal::OutOfScope(format!("its namespace {namespace} is not one of --namespaces")));
        }
        self.excluded_namespaces
            .iter()
            .any(|excluded| excluded == namespace)
            .then(|| Refusal::OutOfScope(format!("its namespace {namespace} is excluded by --exclude-namespaces")))
    }

    /// What its annotations and labels say.
    pub fn refuses(&self, object: &WorkloadObject) -> Option<Refusal> {
        let annotation = object.metadata.annotations.get(RESTART_ANNOTATION).map(String::as_str);
        match annotation {
            Some("false") => {
                return Some(Refusal::OptedOut(format!("its annotation {RESTART_ANNOTATION} is \"false\"")));
            }
            None if self.opt_in => {
                let reason = format!("--opt-in is on, and it has no annotation {RESTART_ANNOTATION}: \"true\"");
                return Some(Refusal::OutOfScope(reason));
            }
            None | Some("true") => {}
            Some(other) => {
                let other: String = other.chars().take(40).collect();
                return Some(Refusal::OptedOut(format!(
                    "its annotation {RESTART_ANNOTATION} is {other:?}, neither \"true\" nor \"false\": taken as \"false\""
                )));
            }
        }
        let selector = self.selector.as_ref()?;
        (!selector.matches(&object.metadata.labels))
            .then(|| Refusal::OutOfScope(format!("its labels do not match --selector {selector}")))
    }
}
