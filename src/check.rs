//! `check`: what is right and wrong with the cache, as findings with a code, a sentence and what to do.
//!
//! Pure: findings from [`Facts`]. It must not know where the facts come from, nor how findings are shown.

mod code;
mod difference;
mod document;
mod facts;
mod finding;
mod mount;
#[cfg(test)]
mod tests;

use crate::cluster::ApiError;
use crate::cluster::access::Access;

pub use code::Code;
pub use difference::{Difference, Names, Scanned};
pub use facts::{Facts, Mount};
pub use finding::{Finding, Severity};

/// All findings, in the order in which they are best read.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = document::findings(facts);
    findings.extend(mount::findings(facts));
    findings.extend(access_findings(&facts.access, dry_run_finding(facts)));
    findings.extend(facts.pods.iter().filter_map(pods_finding));
    // A document that cannot be read at all is a finding already.
    let compared = facts.scanned.as_ref().filter(|_| facts.read.document.is_ok());
    findings.extend(compared.into_iter().flat_map(difference::findings));
    findings
}

/// The worst of all; nothing found is nothing wrong.
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

/// RBAC permits the write; a quota or an admission policy may still refuse it. What fails for now only says nothing.
fn dry_run_finding(facts: &Facts) -> Option<Finding> {
    let error = facts.dry_run.as_ref()?.as_ref().err()?;
    let verb = if facts.read.object.is_none() { "created" } else { "changed" };
    // The words of the API server about a webhook with side effects.
    let is_unable = matches!(error, ApiError::Denied(message) if message.contains("dry run"));
    let is_refusal = matches!(error, ApiError::Denied(_) | ApiError::Forbidden(_) | ApiError::NotFound(_));
    if is_refusal && !is_unable {
        let reason = format!("the ConfigMap {} cannot be {verb}: {error}", facts.config_map);
        let remedy = "change what refuses it: a quota, an admission policy, or a namespace that is missing or ends";
        return Some(Finding::warning(Code::NotWritable, reason).remedy(remedy));
    }
    let reason = format!("whether the ConfigMap {} can be {verb} is not known: {error}", facts.config_map);
    Some(Finding::warning(Code::AccessUnknown, reason))
}

/// Everything else works without it.
fn pods_finding((access, permitted): &(Access, Result<bool, String>)) -> Option<Finding> {
    match permitted {
        Ok(true) => None,
        Ok(false) => {
            let lost = "a push whose image the pods run already restarts them once more";
            let reason = format!("the permission to {access} is missing: {lost}");
            let finding = Finding::warning(Code::PodsNotListable, reason);
            Some(finding.remedy("bind the role pushroll-pod-reader, or leave it so"))
        }
        Err(why) => {
            let reason = format!("whether we may {access}, which pushes make use of, is not known: {why}");
            Some(Finding::warning(Code::AccessUnknown, reason))
        }
    }
}

fn access_findings(access: &[(Access, Result<bool, String>)], dry_run: Option<Finding>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (access, permitted) in access {
        let is_list = access.verb == "list";
        match permitted {
            Ok(true) => {}
            Ok(false) if is_list => findings.push(
                Finding::warning(Code::NotScannable, format!("we may not {access}, which `pushroll rebuild` needs"))
                    .remedy("grant it, or name the namespaces that may be listed with --namespaces"),
            ),
            Ok(false) => findings.push(
                Finding::warning(Code::NotWritable, format!("we may not {access}, which `pushroll rebuild` needs"))
                    .remedy("grant it, or rebuild as another account"),
            ),
            Err(why) => findings.push(Finding::warning(
                Code::AccessUnknown,
                format!("whether we may {access}, which `pushroll rebuild` needs, is not known: {why}"),
            )),
        }
    }
    findings.extend(dry_run);
    if findings.is_empty() && !access.is_empty() {
        findings.push(Finding::ok(Code::Writable, "we may do all that `pushroll rebuild` needs".to_owned()));
    }
    findings
}
