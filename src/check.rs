//! `check`: what is right and wrong with the cache, as findings with a code, a sentence and what to do.
//!
//! Pure: findings from [`Facts`]. It must not know how the facts were come by, nor how findings are shown.

mod code;
mod difference;
mod document;
mod mount;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cache::configmap::ReadConfigMap;
use crate::cache::mount::{MountError, MountedFile};
use crate::cluster::access::Access;
use crate::index::Scope;
use crate::index::document::stored::Stored;

pub use code::Code;
pub use difference::{Difference, Names};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not as well as it could.
    Warning,
    /// It does not work, or is not true: the cache wants a rebuild.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// A sentence.
    pub reason: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What is known of the cache.
#[derive(Debug)]
pub struct Facts {
    /// The ConfigMap, `NAMESPACE/NAME`.
    pub config_map: String,
    /// What was read of it.
    pub read: ReadConfigMap,
    /// The document as it stands there.
    pub stored: Option<Stored>,
    /// What time it is, by the API server's clock where it told.
    pub now: Timestamp,
    /// How old the document may be.
    pub max_age: Option<Duration>,
    /// What it must have seen; `None`: whatever it says it has.
    pub scope: Option<Scope>,
    /// The mount, where it is to be judged.
    pub mount: Option<Mount>,
    /// What a rebuild needs, and whether we may.
    pub access: Vec<(Access, Permission)>,
    /// What a scan has found, where there was one.
    pub scanned: Option<Scanned>,
}

/// Whether something is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// It is.
    Granted,
    /// It is not.
    Refused,
    /// The API server did not say, and why.
    Unknown(String),
}

/// The mount as it was read.
#[derive(Debug)]
pub struct Mount {
    /// Where.
    pub directory: String,
    /// The document there.
    pub read: Result<MountedFile, MountError>,
}

/// What a scan has found.
#[derive(Debug)]
pub struct Scanned {
    /// How it differs from the document; `None` where there is none that could be compared.
    pub difference: Option<Difference>,
    /// What the ConfigMap's values would take after a rebuild.
    pub next_bytes: usize,
}

/// All findings, in the order in which they are best read.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = document::findings(facts);
    findings.extend(mount::finding(facts));
    findings.extend(access_findings(&facts.access));
    findings.extend(difference::finding(facts));
    findings
}

/// The worst of all; nothing found is nothing wrong.
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

fn access_findings(access: &[(Access, Permission)]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (access, permission) in access {
        let is_list = access.verb == "list";
        match permission {
            Permission::Granted => {}
            Permission::Refused if is_list => findings.push(
                Finding::warning(Code::NotScannable, format!("we may not {access}, which `pushroll rebuild` needs"))
                    .remedy("grant it, or name the namespaces that may be listed with --namespaces"),
            ),
            Permission::Refused => findings.push(
                Finding::warning(Code::NotWritable, format!("we may not {access}, which `pushroll rebuild` needs"))
                    .remedy("grant it, or rebuild as another account"),
            ),
            Permission::Unknown(why) => findings.push(Finding::warning(
                Code::AccessUnknown,
                format!("whether we may {access}, which `pushroll rebuild` needs, is not known: {why}"),
            )),
        }
    }
    if findings.is_empty() && !access.is_empty() {
        findings.push(Finding::ok(Code::Writable, "we may do all that `pushroll rebuild` needs".to_owned()));
    }
    findings
}

// === impl Finding ===

impl Finding {
    fn new(severity: Severity, code: Code, reason: String) -> Self {
        Self { code, severity, reason, remedy: None }
    }

    fn ok(code: Code, reason: String) -> Self {
        Self::new(Severity::Ok, code, reason)
    }

    fn warning(code: Code, reason: String) -> Self {
        Self::new(Severity::Warning, code, reason)
    }

    fn error(code: Code, reason: String) -> Self {
        Self::new(Severity::Error, code, reason)
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

// === impl Severity ===

impl Severity {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
