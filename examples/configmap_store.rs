//! Keys and values in a ConfigMap, here of the Kubernetes API in memory.
//!
//! `cargo run --example configmap_store`

use embedded_kubernetes::EmbeddedKubernetes;
use pushroll::clock::Clock;
use pushroll::cluster::{Cluster, ClusterMetrics};
use pushroll::configmap_store::ConfigMapStore;
use std::collections::BTreeMap;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let kubernetes = EmbeddedKubernetes::new();
    let cluster = Cluster::new(kubernetes.client_as("me"), Clock::system(), ClusterMetrics::default());
    let store = ConfigMapStore::new(cluster, "default", "settings");

    store.set(&BTreeMap::from([("colour".to_owned(), b"blue".to_vec())])).await?;
    store.set(&BTreeMap::from([("size".to_owned(), b"large".to_vec())])).await?;
    for key in store.keys().await? {
        let value = store.get(&key).await?.unwrap_or_default();
        println!("{key}: {}", String::from_utf8_lossy(&value));
    }

    // Of two that have read the same version, only the first writes.
    let Some(before) = store.snapshot().await? else { return Err("the ConfigMap is gone".into()) };
    let red = BTreeMap::from([("colour".to_owned(), b"red".to_vec())]);
    store.compare_and_set(&red, &before.resource_version).await?;
    if let Err(error) = store.compare_and_set(&red, &before.resource_version).await {
        println!("refused: {error}");
    }
    Ok(())
}
