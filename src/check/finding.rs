//! A finding: what was found, how bad it is, and what to do.

use std::fmt;

use serde::Serialize;

use super::code::Code;

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

impl Finding {
    pub(super) fn new(severity: Severity, code: Code, reason: String) -> Self {
        Self { code, severity, reason, remedy: None }
    }

    pub(super) fn ok(code: Code, reason: String) -> Self {
        Self::new(Severity::Ok, code, reason)
    }

    pub(super) fn warning(code: Code, reason: String) -> Self {
        Self::new(Severity::Warning, code, reason)
    }

    pub(super) fn error(code: Code, reason: String) -> Self {
        Self::new(Severity::Error, code, reason)
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// As in JSON.
impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
