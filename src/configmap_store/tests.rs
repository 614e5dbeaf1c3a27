use super::*;
use crate::clock::Clock;
use crate::cluster::CONFIG_MAP_BYTES_MAX;
use crate::cluster::ClusterMetrics;
use embedded_kubernetes::EmbeddedKubernetes;

fn store(kubernetes: &EmbeddedKubernetes) -> ConfigMapStore {
    let cluster = Cluster::new(kubernetes.client(), Clock::system(), ClusterMetrics::default());
    ConfigMapStore::new(cluster, "default", "settings")
}

fn values(pairs: &[(&str, &[u8])]) -> Values {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect()
}

fn writes(kubernetes: &EmbeddedKubernetes) -> usize {
    kubernetes.api_calls("anonymous").iter().filter(|call| call.verb != "get").count()
}

#[tokio::test]
async fn a_set_creates_changes_and_leaves_alone() {
    let kubernetes = EmbeddedKubernetes::new();
    let store = store(&kubernetes);
    assert_eq!(store.keys().await.unwrap(), Vec::<String>::new());
    assert_eq!(store.get("a").await.unwrap(), None);
    assert!(store.set(&values(&[("a", b"1"), ("b", b"\xff\0")])).await.unwrap());
    assert_eq!(store.keys().await.unwrap(), ["a", "b"]);
    assert_eq!(store.get("b").await.unwrap().unwrap(), b"\xff\0");
    let before = writes(&kubernetes);
    assert!(!store.set(&values(&[("a", b"1")])).await.unwrap());
    assert_eq!(writes(&kubernetes), before, "what changes nothing writes nothing");
    assert!(store.set(&values(&[("b", b"text now")])).await.unwrap());
    assert_eq!(store.get("b").await.unwrap().unwrap(), b"text now");
    assert!(store.delete("a").await.unwrap() && !store.delete("a").await.unwrap());
    assert_eq!(store.truncate().await.unwrap(), 1);
    assert_eq!(store.snapshot().await.unwrap().unwrap().values, Values::new());
}

#[tokio::test]
async fn compare_and_set_sees_another_writer() {
    let kubernetes = EmbeddedKubernetes::new();
    let store = store(&kubernetes);
    store.force_set(&values(&[("a", b"1")])).await.unwrap();
    let seen = store.snapshot().await.unwrap().unwrap();
    store.compare_and_set(&values(&[("a", b"2")]), &seen.resource_version).await.unwrap();
    let late = store.compare_and_set(&values(&[("a", b"3")]), &seen.resource_version).await;
    assert!(matches!(late, Err(StoreError::Changed(_))));
    assert_eq!(store.get("a").await.unwrap().unwrap(), b"2");
}

#[tokio::test]
async fn a_cache_serves_reads_and_never_decides_a_write() {
    let kubernetes = EmbeddedKubernetes::new();
    let cached = store(&kubernetes).with_cache(Duration::from_secs(3600));
    cached.set(&values(&[("a", b"1")])).await.unwrap();
    store(&kubernetes).set(&values(&[("a", b"2")])).await.unwrap();
    assert_eq!(cached.get("a").await.unwrap().unwrap(), b"1", "from the cache");
    assert!(cached.set(&values(&[("a", b"1")])).await.unwrap(), "the other's write is seen");
    assert_eq!(store(&kubernetes).get("a").await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn limits_are_checked_before_the_api_is_asked() {
    let kubernetes = EmbeddedKubernetes::new();
    let store = store(&kubernetes);
    for key in ["", "a b", "..", "..a", ".", &"x".repeat(254)] {
        assert!(matches!(store.set(&values(&[(key, b"")])).await, Err(StoreError::BadKey { .. })), "{key}");
    }
    assert!(kubernetes.api_calls("anonymous").is_empty());
    let large = vec![b'x'; CONFIG_MAP_BYTES_MAX];
    store.set(&values(&[("large", &large)])).await.unwrap();
    assert!(matches!(store.set(&values(&[("more", b"x")])).await, Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.force_set(&values(&[("more", b"x")])).await, Err(StoreError::Api { .. })));
}
