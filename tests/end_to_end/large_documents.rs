//! A cache document that has outgrown its plain form: compressed in the ConfigMap, read through every door.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_kubernetes::ProjectedVolume;
use serde_json::{Value, json};

use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    // Not on the shared control plane: the other tests scan it whole, and their documents would grow with it.
    suite.on_embedded(a_large_document_is_compressed_and_read_everywhere);
}

/// A few workloads with many images of long names: as large as thousands of ordinary ones.
fn workloads(ground: &Ground) -> Vec<Value> {
    let workload = |number: usize| {
        let containers: Vec<Value> = (0..100)
            .map(|container| {
                let image = ground.image(&format!("{}-{number}-{container}", "long".repeat(20)));
                json!({"name": format!("c-{container}"), "image": image})
            })
            .collect();
        let mut workload = deployment(ground.namespace(), &format!("web-{number}"), "replaced");
        workload["spec"]["replicas"] = json!(0);
        workload["spec"]["template"]["spec"]["containers"] = containers.into();
        workload
    };
    (0..20).map(workload).collect()
}

async fn a_large_document_is_compressed_and_read_everywhere(ground: Ground) {
    let workloads = workloads(&ground);
    for workload in &workloads {
        ground.create(workload).await;
    }
    let user = ground.fresh_user();
    let rebuild = async || {
        let ran = ground.run_as(&user, &["rebuild", "--namespaces", ground.namespace()]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    };
    let cache = config_map(ground.namespace(), "deployment-image-cache", "cache.json", "");
    assert_eq!(rebuild().await, "changed\n");
    assert_eq!(rebuild().await, "unchanged\n");
    let stored = ground.get(&cache).await;
    assert_eq!(stored.get("data"), None, "one form, one truth");
    let gzip = STANDARD.decode(stored["binaryData"]["cache.json.gz"].as_str().unwrap()).unwrap();
    assert!(gzip.starts_with(&[0x1f, 0x8b]) && gzip.len() < 100_000, "{} bytes", gzip.len());

    let image = workloads[7]["spec"]["template"]["spec"]["containers"][42]["image"].as_str().unwrap();
    let name = format!("{}/deployment/web-7\n", ground.namespace());
    let before = ground.api_calls(&user).len();
    let through_api = ground.run_as(&user, &["lookup", image, "-o", "name"]).await;
    assert_eq!((through_api.code, &through_api.stdout), (0, &name), "{through_api:?}");
    assert_eq!(ground.api_calls(&user)[before..].len(), 1, "the ConfigMap alone");

    let directory = ground.directory().join("large");
    let mut volume = ProjectedVolume::create(&directory).unwrap();
    let mut show = |gzip: &[u8]| volume.write(&BTreeMap::from([("cache.json.gz".to_owned(), gzip.to_vec())])).unwrap();
    show(&gzip);
    let lookup = ["lookup", image, "--no-api", "-o", "name", "--cache-dir", directory.to_str().unwrap()];
    let mounted = ground.run_as(&user, &lookup).await;
    assert_eq!((mounted.code, &mounted.stdout), (0, &name), "{mounted:?}");
    show(&gzip[..gzip.len() - 100]);
    let truncated = ground.run_as(&user, &lookup).await;
    assert!(truncated.failed_with_one_sentence().contains("its gzip form is damaged"), "{truncated:?}");

    for workload in &workloads[1..] {
        ground.delete(workload).await;
    }
    assert_eq!(rebuild().await, "changed\n");
    let stored = ground.get(&cache).await;
    assert!(stored["data"]["cache.json"].is_string() && stored.get("binaryData").is_none(), "plain again");
}
