use jiff::Timestamp;

use super::*;
use crate::cache::configmap::{ReadConfigMap, ReadError};
use crate::index::Scope;
use crate::index::document::{Document, Images};
use crate::workload::{WorkloadKind, WorkloadRef};

fn access(verb: &'static str) -> Access {
    Access { verb, group: "", resource: "configmaps", namespace: Some("a".to_owned()), name: None }
}

fn images(runs: &[(&str, &str, &str)]) -> Images {
    let runs = runs
        .iter()
        .map(|(image, namespace, name)| (*image, [WorkloadRef::new(*namespace, WorkloadKind::Deployment, *name)]));
    runs.collect()
}

#[test]
fn what_the_api_server_does_not_say_is_not_taken_for_a_no() {
    let unknown = Err("it is away".to_owned());
    let found = access_findings(&[(access("patch"), unknown), (access("list"), Ok(true))], None);
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::AccessUnknown]);
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].reason.contains("patch configmaps in the namespace a") && found[0].reason.contains("away"));
    assert_eq!(access_findings(&[], None), []);
}

#[test]
fn a_workload_differs_by_its_images_and_within_the_scope_alone() {
    let listed = images(&[("x:1", "a", "same"), ("y:1", "a", "same"), ("x:1", "a", "less"), ("x:1", "b", "elsewhere")]);
    let scanned = images(&[("x:1", "a", "same"), ("y:1", "a", "same"), ("x:1", "a", "less"), ("y:1", "a", "less")]);
    let scope = Scope::of(&["a".to_owned()]);
    let difference = Difference::between(&listed, &scanned, &scope);
    let less = WorkloadRef::new("a", WorkloadKind::Deployment, "less");
    assert_eq!(difference, Difference { changed: Names { count: 1, first: vec![less] }, ..Difference::default() });
    assert_eq!(Difference::between(&listed, &scanned, &Scope::AllNamespaces).gone.count, 1);
    assert_eq!(Difference::between(&listed, &listed, &Scope::AllNamespaces), Difference::default());
}

#[test]
fn a_document_that_cannot_be_compared_differs() {
    let text = br#"{"images": {"x:1": [{"name": "a", "namespace": "b", "kind": "Robot"}]}}"#;
    let facts = |document: Result<Document, ReadError>| Facts {
        config_map: "a/b".to_owned(),
        read: ReadConfigMap { object: None, document, bytes: text.len() },
        stored: None,
        passed_over: Vec::new(),
        dry_run: None,
        now: Timestamp::UNIX_EPOCH,
        max_age: None,
        scope: None,
        mount: None,
        access: Vec::new(),
        pods: Vec::new(),
        scanned: Some(Scanned { difference: None, next_bytes: 0, unseen: Vec::new() }),
    };
    let codes = |facts: &Facts| findings(facts).into_iter().map(|finding| finding.code).collect::<Vec<_>>();
    let found = codes(&facts(Ok(Document::decode(text).unwrap())));
    assert!(found.contains(&Code::LeftOut) && found.contains(&Code::Differs), "{found:?}");
    let missing = facts(Err(ReadError::Missing("a/b".to_owned())));
    assert_eq!((codes(&missing), worst(&findings(&missing))), (vec![Code::Missing, Code::Fits], Severity::Error));
}
