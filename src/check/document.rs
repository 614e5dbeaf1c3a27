//! Findings on the ConfigMap and its document: whether it exists and can be read, its age, scope and size, and whether it
//! can change.

use jiff::SignedDuration;
use serde_json::json;

use super::code::Code;
use super::difference::PART_UNSEEN_REMEDY;
use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::cache::capacity::{self, Level};
use crate::cache::configmap::ReadError;
use crate::cluster::ConfigMapObject;
use crate::index::document::stored::Stored;
use crate::index::document::{Document, DocumentError};
use crate::index::{Part, Scope};

/// All annotations of an object together (Kubernetes: `TotalAnnotationSizeLimitB`).
const ANNOTATIONS_BYTES_MAX: usize = 262_144;
/// Where `kubectl apply` keeps the object as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Clocks differ by a second or two; one that differs by more is wrong.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(60);

const REBUILD: &str = "`pushroll rebuild` writes it";

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &facts.read.document {
        Err(error) => findings.push(unusable(error)),
        Ok(document) => {
            findings.push(valid(facts, document));
            findings.extend(left_out(document));
            findings.push(age(facts, document));
            findings.extend(narrower(facts, document));
            findings.extend(unseen(facts, document));
        }
    }
    findings.extend(size(facts));
    findings.extend(facts.passed_over.iter().map(|warning| {
        Finding::warning(Code::PassedOver, warning.clone()).remedy("`pushroll rebuild` leaves one of them")
    }));
    if let Some(object) = &facts.read.object {
        findings.extend(last_applied(facts, object));
        if object.immutable {
            let reason = format!("the ConfigMap {} is immutable: it can never change", facts.config_map);
            let remedy = format!("{}, then `pushroll rebuild`, and restart the pods that mount it", delete(facts));
            findings.push(Finding::warning(Code::Immutable, reason).remedy(remedy));
        }
    }
    findings
}

/// `kubectl -n NAMESPACE delete configmap NAME`
fn delete(facts: &Facts) -> String {
    let (namespace, name) = facts.config_map.split_once('/').unwrap_or_default();
    format!("`kubectl -n {namespace} delete configmap {name}`")
}

fn unusable(error: &ReadError) -> Finding {
    let (code, remedy) = match error {
        ReadError::Missing(_) => (Code::Missing, REBUILD),
        ReadError::NoKey { .. } => (Code::NoKey, "name the key with --cache-key, or let `pushroll rebuild` write it"),
        ReadError::Document { source: DocumentError::TooNew { .. }, .. } => (Code::TooNew, "upgrade this pushroll"),
        ReadError::Document { .. } | ReadError::Api(_) => (Code::Invalid, "`pushroll rebuild` writes it anew"),
    };
    Finding::error(code, error.to_string()).remedy(remedy)
}

fn valid(facts: &Facts, document: &Document) -> Finding {
    let form = match facts.stored {
        Some(Stored::Gzip(_)) => "compressed",
        Some(Stored::Plain(_)) | None => "plain",
    };
    let seen = match document.head.covered_scope() {
        None => "a scope it does not name".to_owned(),
        Some(Scope::AllNamespaces) => "all namespaces".to_owned(),
        Some(Scope::Namespaces(namespaces)) => {
            format!("the namespaces {}", namespaces.into_iter().collect::<Vec<_>>().join(", "))
        }
    };
    let (images, workloads) = (document.index.images(), document.index.workloads());
    Finding::ok(
        Code::Valid,
        format!(
            "the ConfigMap {} holds {images} images and {workloads} workloads of {seen} in {} bytes, {form}",
            facts.config_map, facts.read.bytes
        ),
    )
}

fn left_out(document: &Document) -> Option<Finding> {
    let first = document.warnings.first()?;
    let reason = match document.warnings.len() {
        1 => first.clone(),
        count => format!("{count} or more entries are of no use, the first: {first}"),
    };
    Some(Finding::warning(Code::LeftOut, reason).remedy("mend them, or let `pushroll rebuild` write it anew"))
}

/// With `--max-age` an unknown age is an error: else such a document would never be too old.
pub(super) fn age(facts: &Facts, document: &Document) -> Finding {
    let unknown = if facts.max_age.is_some() { Severity::Error } else { Severity::Warning };
    let Some(as_of) = document.head.newest() else {
        let reason = "the document does not say when it was true: no push can rely on it alone".to_owned();
        return Finding::new(unknown, Code::UnknownAge, reason).remedy("`pushroll rebuild` writes one that says it");
    };
    let age = facts.now.duration_since(as_of);
    if age < -AHEAD_MAX {
        let reason = format!("the document says it was true at {as_of}, which is in the future");
        let remedy = "look after the clocks, then `pushroll rebuild`";
        return Finding::new(unknown, Code::FromTheFuture, reason).remedy(remedy);
    }
    let seconds = age.as_secs().max(0);
    let age_text = format!("as of {as_of}, {seconds} s ago");
    match facts.max_age {
        Some(max_age) if age > SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX) => {
            let reason = format!("{age_text}: older than --max-age, {} s", max_age.as_secs());
            Finding::error(Code::Stale, reason).remedy("`pushroll rebuild` writes a new one")
        }
        Some(_) | None => Finding::ok(Code::Fresh, age_text),
    }
}

fn narrower(facts: &Facts, document: &Document) -> Option<Finding> {
    let wanted = facts.scope.as_ref()?;
    let has = document.head.covered_scope()?;
    let reason = "the document covers fewer namespaces than --namespaces names".to_owned();
    let finding = || Finding::error(Code::Narrower, reason).remedy("`pushroll rebuild` with the same --namespaces");
    (!has.covers(wanted)).then(finding)
}

/// With `--max-age` a part that is older, or was never seen, is an error.
fn unseen(facts: &Facts, document: &Document) -> Option<Finding> {
    let unseen: Vec<_> = document.head.unseen().collect();
    let oldest = unseen.iter().map(|part| part.as_of).min()?;
    let is_too_old = |max_age| {
        oldest.is_none_or(|as_of| {
            facts.now.duration_since(as_of) > SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX)
        })
    };
    let severity = if facts.max_age.is_some_and(is_too_old) { Severity::Error } else { Severity::Warning };
    let names = Part::describe(unseen.iter().map(|part| &part.part));
    let known = oldest.map_or("nothing is known of some of them".to_owned(), |as_of| {
        format!("what it lists of them is as of {as_of} or later")
    });
    let reason = format!("{names} could not be seen when the document was written: {known}");
    Some(Finding::new(severity, Code::PartUnseen, reason).remedy(PART_UNSEEN_REMEDY))
}

/// The size of the ConfigMap now or after the next rebuild, whichever is larger.
fn size(facts: &Facts) -> Option<Finding> {
    let now = facts.read.object.as_ref().map(ConfigMapObject::values_bytes);
    let next = facts.scanned.as_ref().map(|scanned| scanned.next_bytes);
    let bytes = now.max(next)?;
    let (verb, size) = (if next > now { "would take" } else { "take" }, capacity::describe(bytes));
    let reason = format!("the values of {} {verb} {size}", facts.config_map);
    Some(match Level::of(bytes) {
        Level::Fits => Finding::ok(Code::Fits, reason),
        Level::HalfFull => Finding::warning(Code::HalfFull, reason).remedy(format!("in time, {}", capacity::REMEDY)),
        Level::NearlyFull => Finding::warning(Code::NearlyFull, reason).remedy(format!("soon, {}", capacity::REMEDY)),
        Level::TooLarge => Finding::error(Code::TooLarge, reason).remedy(capacity::REMEDY),
    })
}

/// Whether `kubectl apply` of it still works: it keeps all that it applies, quotes escaped, in one annotation.
fn last_applied(facts: &Facts, object: &ConfigMapObject) -> Option<Finding> {
    let (namespace, name) = facts.config_map.split_once('/')?;
    let mut applied = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"annotations": {}, "name": name, "namespace": namespace},
    });
    for (member, values) in [("data", &object.data), ("binaryData", &object.binary_data)] {
        if !values.is_empty() {
            applied[member] = json!(values);
        }
    }
    let others = object.metadata.annotations.iter().filter(|(key, _)| *key != LAST_APPLIED);
    let others: usize = others.map(|(key, value)| key.len() + value.len()).sum();
    // kubectl ends it with a line break.
    let bytes = others + LAST_APPLIED.len() + applied.to_string().len() + 1;
    if bytes <= ANNOTATIONS_BYTES_MAX / 5 * 4 {
        return None;
    }
    let verb = if bytes > ANNOTATIONS_BYTES_MAX { "fails" } else { "will soon fail" };
    let reason = format!(
        "`kubectl apply` of this ConfigMap {verb}: it keeps what it applies in an annotation, {bytes} of \
         {ANNOTATIONS_BYTES_MAX} bytes; `pushroll rebuild` does not"
    );
    // A warning only where `kubectl apply` is used for it.
    let is_applied = object.metadata.annotations.contains_key(LAST_APPLIED);
    let severity = if is_applied { Severity::Warning } else { Severity::Ok };
    let remedy = "by hand, `kubectl create configmap ... --dry-run=client -o yaml | kubectl replace -f -`";
    Some(Finding::new(severity, Code::LastAppliedLimit, reason).remedy(remedy))
}
