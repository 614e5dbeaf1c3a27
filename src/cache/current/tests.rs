use super::*;

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
