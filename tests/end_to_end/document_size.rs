//! The document's size: fifty thousand workloads in one ConfigMap, measured and warned about on the way, and a
//! sentence that says what to do where it ends.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_kubernetes::ProjectedVolume;
use jiff::Timestamp;
use pushroll::cache::configmap::{CacheConfigMap, WriteError, Written};
use pushroll::cache::scan::Seen;
use pushroll::clock::Clock;
use pushroll::cluster::{Cluster, ClusterMetrics};
use pushroll::index::Scope;
use pushroll::index::document::Images;
use serde_json::{Value, json};

use crate::chain::rebuild;
use crate::support::believable;
use crate::support::documents::names;
use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(fifty_thousand_workloads_make_the_round);
    suite.on_embedded(what_does_not_fit_is_told_before_it_is_sent);
    suite.on_both(a_service_outgrows_its_config_map_and_goes_on);
    suite.on_both(the_size_is_measured_and_warned_about_once);
}

/// Not the one that the tests' services write: a scan of the cluster would take its place.
const NAME: &str = "large-cache";

async fn cluster(ground: &Ground) -> Cluster {
    let client = ground.client_as(&ground.fresh_user()).await;
    Cluster::new(client, Clock::system(), ClusterMetrics::default())
}

fn large_cache(ground: &Ground) -> CacheConfigMap {
    CacheConfigMap { namespace: ground.namespace().to_owned(), name: NAME.to_owned(), key: "cache.json".to_owned() }
}

fn seen(images: &Images) -> Seen<'_> {
    Seen { images, as_of: Some(Timestamp::now()), scope: &Scope::AllNamespaces, unseen: Vec::new() }
}

async fn fifty_thousand_workloads_make_the_round(ground: Ground) {
    let images: Images = believable::cluster(50_000);
    let (cluster, cache) = (cluster(&ground).await, large_cache(&ground));
    let outcome = cache.write(&cluster, &seen(&images), None, false).await.unwrap();
    assert_eq!(outcome.written, Written::Changed);
    let read = cache.read(&cluster).await.unwrap();
    assert_eq!((read.bytes, read.bytes), (outcome.document_bytes, outcome.values_bytes), "as the API counts");
    assert_eq!(read.document.unwrap().index.workloads(), 50_000);
    let object = read.object.unwrap();
    let stored = cache.stored(&object).unwrap().images().unwrap();
    assert!(stored == images, "what was written is read back");
    let again = cache.write(&cluster, &seen(&images), Some(object), false).await.unwrap();
    assert_eq!((again.written, again.document_bytes), (Written::Unchanged, outcome.document_bytes));

    let (image, workloads) = images.iter().find(|(image, _)| image.contains("-migrate:")).unwrap();
    let expected: String = workloads.iter().map(|workload| format!("{workload}\n")).collect();
    let user = ground.fresh_user();
    let lookup = ["lookup", image, "-o", "name", "--cache-configmap", NAME];
    let through_api = ground.run_as(&user, &lookup).await;
    assert_eq!((through_api.code, &through_api.stdout), (0, &expected), "{}", through_api.stderr);

    let directory = ground.directory().join("large");
    let stored = ground.get(&config_map(ground.namespace(), NAME, "", "")).await;
    let gzip = STANDARD.decode(stored["binaryData"]["cache.json.gz"].as_str().unwrap()).unwrap();
    let mut volume = ProjectedVolume::create(&directory).unwrap();
    volume.write(&BTreeMap::from([("cache.json.gz".to_owned(), gzip)])).unwrap();
    let mount = ["--no-api", "--cache-dir", directory.to_str().unwrap()];
    let mounted = ground.run_as(&user, &[&lookup[..], &mount].concat()).await;
    assert_eq!((mounted.code, &mounted.stdout), (0, &expected), "{}", mounted.stderr);

    let check = ["check", "--cache-configmap", NAME, "--cache-dir", directory.to_str().unwrap(), "-o", "name"];
    let checked = ground.run_as(&user, &check).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (0, "nearly_full\n"), "{checked:?}");

    let service = ground.service().arguments(["--cache-configmap", NAME]).start_ready().await;
    assert_eq!(names(&service.lookup(image).await).len(), workloads.len());
    let is_measured = |status: &Value| status["tiers"]["configmap"]["document_bytes"] == outcome.document_bytes;
    let status = service.wait_for_status("the document is measured", is_measured).await;
    let configmap = &status["tiers"]["configmap"];
    assert!(configmap["warnings"].to_string().contains("80 % or more"), "{configmap}");
    assert_eq!(service.metric("pushroll_cache_document_bytes").await, outcome.document_bytes as f64);
}

async fn what_does_not_fit_is_told_before_it_is_sent(ground: Ground) {
    let user = ground.fresh_user();
    let cluster = Cluster::new(ground.client_as(&user).await, Clock::system(), ClusterMetrics::default());
    let images = believable::cluster(70_000);
    let error = large_cache(&ground).write(&cluster, &seen(&images), None, false).await.unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { bytes, .. } if bytes > 1_048_576), "{error}");
    assert!(error.to_string().contains("run one pushroll for each set of namespaces"), "{error}");
    assert_eq!(ground.api_calls(&user), []);
}

/// The cache ConfigMap with an empty document, and as much of somebody else's beside it.
fn with_notes(ground: &Ground, bytes: usize) -> Value {
    let empty = "{\"images\":{}}";
    let mut map = config_map(ground.namespace(), "deployment-image-cache", "cache.json", empty);
    map["data"]["notes"] = json!("x".repeat(bytes - empty.len()));
    map
}

async fn start(ground: &Ground) -> Service {
    ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await
}

async fn a_service_outgrows_its_config_map_and_goes_on(ground: Ground) {
    let map = with_notes(&ground, 1_048_576);
    ground.create(&map).await;
    let (image, user) = (ground.image("web"), ground.fresh_user());
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let says = "run one pushroll for each set of namespaces";
    for dry_run in [&["--dry-run"][..], &[]] {
        let arguments = [&["rebuild", "--namespaces", ground.namespace()], dry_run].concat();
        let ran = ground.run_as(&user, &arguments).await;
        assert!(ran.failed_with_one_sentence().contains(says), "{ran:?}");
    }
    let checked = ground.run_as(&user, &["check", "--deep", "--namespaces", ground.namespace(), "-o", "name"]).await;
    assert_eq!(checked.code, 3, "{checked:?}");
    assert!(checked.stdout.lines().any(|code| code == "too_large"), "{checked:?}");

    // Beside a running service: one that starts here takes the empty document for what there is.
    ground.delete(&map).await;
    let service = start(&ground).await;
    eventually("the ConfigMap is made", async || ground.cache_document().await).await;
    ground.delete(&map).await;
    ground.create(&map).await;
    let refused =
        crate::support::http::send(http::Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
    assert!(refused.status != 200 && refused.text().contains(says), "{}", refused.text());
    let error = service.status().await["tiers"]["configmap"]["write_error"].to_string();
    assert!(error.contains(says), "{error}");
    assert_eq!(names(&service.lookup(&image).await), ["web"], "memory goes on");
    let calls = service.api_calls();
    assert!(calls.iter().all(|call| call.verb != "patch"), "the API server need not be asked: {calls:?}");
}

async fn the_size_is_measured_and_warned_about_once(ground: Ground) {
    let map = with_notes(&ground, 524_288);
    let service = start(&ground).await;
    eventually("the ConfigMap is made", async || ground.cache_document().await).await;
    let cache = async || ground.get(&map).await["data"]["cache.json"].as_str().unwrap().len() as f64;
    let measured = async || service.metric("pushroll_cache_document_bytes").await;
    let made = cache().await;
    eventually("the first write is measured", async || (measured().await == made).then_some(())).await;

    let notes = json!({"data": {"notes": map["data"]["notes"]}});
    ground.patch(&map, "somebody", notes).await;
    for number in 0..3 {
        ground.create(&deployment(ground.namespace(), &format!("web-{number}"), &ground.image("web"))).await;
        assert_eq!(rebuild(&service).await["result"], "changed");
        assert_eq!(measured().await, cache().await, "the document alone, as it was written");
    }
    let warning = async || service.status().await["tiers"]["configmap"]["warnings"].to_string();
    assert!(warning().await.contains("takes half or more of the 1048576 bytes"), "{}", warning().await);
    assert_eq!(service.warned("takes half or more").await, 1);

    let more = json!({"data": {"notes": "x".repeat(838_861)}});
    ground.patch(&map, "somebody", more).await;
    rebuild(&service).await;
    rebuild(&service).await;
    assert!(warning().await.contains("takes 80 % or more"), "{}", warning().await);
    assert_eq!((service.warned("takes half or more").await, service.warned("takes 80 % or more").await), (1, 1));
    ground.patch(&map, "somebody", json!({"data": {"notes": null}})).await;
    rebuild(&service).await;
    assert_eq!(warning().await, "null");
}
