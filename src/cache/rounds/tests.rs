use super::*;
use crate::cache::CacheMetrics;
use crate::cache::configmap::CacheConfigMap;
use crate::clock::Clock;
use crate::cluster::ClusterMetrics;
use crate::index::Scope;
use crate::index::document::Document;
use embedded_kubernetes::EmbeddedKubernetes;

#[tokio::test]
async fn a_document_of_any_tier_wakes_who_waits() {
    let (metrics, margin) = (CacheMetrics::default(), Duration::from_secs(10));
    let scope = Scope::AllNamespaces;
    let current = CurrentIndex::new(scope, Clock::system(), Arc::default(), margin, Duration::ZERO, metrics);
    let current = Arc::new(current);
    let cluster = Cluster::new(EmbeddedKubernetes::new().client(), Clock::system(), ClusterMetrics::default());
    let cache = CacheConfigMap { namespace: "a".to_owned(), name: "b".to_owned(), key: "cache.json".to_owned() };
    let config_map = Arc::new(ConfigMapTier::new(cache, cluster.clone(), Arc::clone(&current), false));
    let rounds = Rounds::new(cluster, Arc::clone(&current), config_map, None, false);
    // No round is run.
    let load = async {
        assert!(rounds.has_unmet_need());
        current.document_loaded(Tier::Mount, 10, Document::decode(b"{\"images\": {}}").unwrap());
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let (loaded, ()) = tokio::join!(rounds.wait_for(Need::Any, deadline), load);
    assert_eq!(loaded.unwrap().tier, Tier::Mount);
    assert!(!rounds.has_unmet_need() && rounds.needs.lock().open.is_empty());
    let in_time = rounds.wait_for(Need::ScanSince(Instant::now()), Instant::now());
    assert!(matches!(in_time.await, Err(Unproven::TimedOut)));
}
