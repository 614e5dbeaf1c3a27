use super::*;
use crate::workload::WorkloadKind;

fn document(minute: u32, image: &str) -> Document {
    let text = format!(
        r#"{{"as_of": "2026-11-20T10:{minute:02}:00Z", "images":
        {{"{image}": [{{"namespace": "shop", "kind": "Deployment", "name": "web"}}]}}}}"#
    );
    Document::decode(text.as_bytes()).unwrap()
}

fn current() -> CurrentIndex {
    let margin = Duration::from_secs(10);
    let metrics = CacheMetrics::default();
    CurrentIndex::new(Scope::AllNamespaces, Clock::system(), Arc::default(), margin, Duration::ZERO, metrics)
}

fn has(current: &CurrentIndex, image: &str) -> bool {
    current.load().is_some_and(|loaded| !loaded.index.followers(&image.parse().unwrap()).is_empty())
}

#[test]
fn an_older_document_does_not_replace_a_newer() {
    let current = current();
    current.document_loaded(Tier::ConfigMap, 10, document(5, "new"));
    current.document_loaded(Tier::Mount, 20, document(4, "old"));
    assert!(has(&current, "new") && current.tiers().mount.older_than_memory);
    let count = |tier, result| current.metrics.reloads(tier, result).get();
    assert_eq!(count(Tier::ConfigMap, ReloadResult::Loaded), 1);
    assert_eq!(count(Tier::Mount, ReloadResult::Older), 1);
    let scanned = current.complete(IndexBuilder::default(), &[]);
    current.scanned(scanned, None, Instant::now());
    assert!(!has(&current, "new"), "a scan of our own replaces all");
}

/// A document of the namespaces a, seen, and b, not seen. In b a deployment runs `image` as of its own time.
fn partial(minutes: [u32; 2], image: &str, damage: &str) -> Document {
    let part = |kind: &str, namespace: &str, minute: u32| {
        format!(r#"{{"kind": "{kind}", "namespace": "{namespace}", "as_of": "2026-11-20T10:{minute:02}:00Z"}}"#)
    };
    let kinds = WorkloadKind::ALL.map(WorkloadKind::as_str);
    let parts = kinds.map(|kind| format!("{}, {}", part(kind, "a", minutes[0]), part(kind, "b", minutes[1])));
    let text = format!(
        r#"{{"parts": [{}], "images": {{"{image}": [{{"namespace": "b", "name": "web"}}{damage}]}}}}"#,
        parts.join(", ")
    );
    Document::decode(text.as_bytes()).unwrap()
}

fn current_of_two() -> (CurrentIndex, Part) {
    let scope = Scope::of(&["a".to_owned(), "b".to_owned()]);
    (CurrentIndex { scope, ..current() }, Part::new(WorkloadKind::Deployment, Some("b")))
}

#[test]
fn a_document_keeps_the_newer_entries_of_a_part_that_its_writer_has_not_seen() {
    let (current, b) = current_of_two();
    current.document_loaded(Tier::ConfigMap, 10, partial([5, 4], "newer", ""));
    let as_of = |current: &CurrentIndex| current.load().and_then(|loaded| loaded.part_as_of(&b)).unwrap().to_string();
    current.document_loaded(Tier::Mount, 10, partial([6, 3], "older", ""));
    assert!(has(&current, "newer") && has(&current, "older"));
    assert_eq!((as_of(&current), current.load().unwrap().tier), ("2026-11-20T10:04:00Z".to_owned(), Tier::Mount));
    current.document_loaded(Tier::ConfigMap, 10, partial([8, 7], "newest", ""));
    assert!(has(&current, "newest") && !has(&current, "newer"), "what is older goes");
    assert_eq!(as_of(&current), "2026-11-20T10:07:00Z");
}

#[test]
fn the_times_of_a_document_that_may_lack_an_entry_are_not_passed_on() {
    for (damage, as_of) in [("", Some("2026-11-20T10:04:00Z".to_owned())), (r#", {"namespace": "b"}"#, None)] {
        let (current, b) = current_of_two();
        current.document_loaded(Tier::ConfigMap, 10, partial([5, 4], "web", damage));
        let part_as_of = |loaded: &LoadedIndex| loaded.part_as_of(&b).map(|as_of| as_of.to_string());
        assert_eq!(part_as_of(&current.load().unwrap()), as_of);
        let scanned = current.complete(IndexBuilder::default(), std::slice::from_ref(&b));
        let scanned = current.scanned(scanned, None, Instant::now());
        assert!(has(&current, "web") && scanned.lacks(&b) && scanned.lacks(&Part::new(b.kind, None)));
        assert_eq!(part_as_of(&scanned), as_of);
    }
}

#[test]
fn an_index_wakes_who_waits_and_a_failure_keeps_it() {
    let current = current();
    let changes = current.changes();
    current.tier_failed(Tier::Mount, "it is empty".to_owned());
    assert!(!changes.has_changed().unwrap(), "there is nothing new to look at");
    assert_eq!(current.failed_tiers().len(), 1);
    current.document_loaded(Tier::Mount, 10, document(5, "web"));
    assert!(changes.has_changed().unwrap());
    assert_eq!(current.failed_tiers(), []);
    current.tier_failed(Tier::Mount, "it is damaged".to_owned());
    assert!(has(&current, "web"));
    assert!(current.meets(current.load().as_deref(), &Need::Any));
    assert!(!current.meets(current.load().as_deref(), &Need::ScanSince(Instant::now())));
}
