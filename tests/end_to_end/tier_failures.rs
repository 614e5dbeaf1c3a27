//! Each way in which a tier fails: the others answer, memory goes on, and what is wrong stands in the answer, in the
//! status and in `check`. What else can be wrong with a mount is in `mount`, with a first start in `chain`, with a
//! write in `write_back` and `document_size`, with an API server that is away in `api_away` and `outages`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_kubernetes::ProjectedVolume;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::chain::rebuild;
use crate::freshness::allow;
use crate::support::documents::{document, names, scanned_document};
use crate::support::fixtures::{PushMessage, config_map, deployment};
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_config_map_deleted_while_mounted_is_made_anew);
    suite.on_both(a_config_map_spoiled_under_a_service_is_replaced);
    suite.on_both(a_truncated_gzip_on_the_mount_is_told);
    suite.on_both(a_config_map_older_than_memory_is_not_taken);
    suite.on_both(a_config_map_made_immutable_under_us_is_told);
    suite.on_control_plane(a_forbidden_config_map_leaves_the_scan);
    suite.on_embedded(a_subpath_mount_that_never_changes_is_told);
    suite.on_embedded(a_mount_that_stops_being_updated_is_noticed);
    suite.on_embedded(a_mount_that_is_only_late_is_left_alone);
}

fn cache(ground: &Ground, document: &Value) -> Value {
    config_map(ground.namespace(), "deployment-image-cache", "cache.json", &document.to_string())
}

/// `image` run by one workload of this name.
fn runs(ground: &Ground, image: &str, name: &str) -> Value {
    document(&[(image, &[&deployment(ground.namespace(), name, image)])])
}

/// Why the answer of a lookup says that a tier gives no index.
async fn failed(service: &Service, image: &str, tier: &str) -> String {
    let found = service.lookup(image).await;
    let tiers = found["source"]["failed_tiers"].as_array().cloned().unwrap_or_default();
    let reason = tiers.iter().find(|failed| failed["tier"] == tier).map(|failed| failed["reason"].as_str().unwrap());
    reason.unwrap_or_default().to_owned()
}

async fn start(ground: &Ground) -> Service {
    ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await
}

async fn a_config_map_deleted_while_mounted_is_made_anew(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let (mut volume, map) = (ground.volume(), cache(&ground, &runs(&ground, &image, "web")));
    ground.create(&map).await;
    volume.show(&runs(&ground, &image, "web"));
    let service =
        ground.service().arguments(["--namespaces", ground.namespace()]).mount(volume.directory()).start_ready().await;
    ground.delete(&map).await;
    // What the kubelet makes of an optional one.
    volume.show_file("other", "");
    let is_gone = |status: &Value| status["tiers"]["mount"]["error"].is_string();
    service.wait_for_status("the mount has lost its key", is_gone).await;
    assert_eq!(names(&service.lookup(&image).await), ["web"], "memory goes on");
    assert!(failed(&service, &image, "mount").await.contains("has no cache.json"));
    let checked = ground
        .run_as(&ground.fresh_user(), &["check", "--cache-dir", volume.directory().to_str().unwrap(), "-o", "name"])
        .await;
    assert_eq!((checked.code, checked.stdout.as_str()), (3, "missing\nmount_empty\n"), "{checked:?}");

    let answer = service.push(&PushMessage::now(&image, 1)).await.json();
    assert_eq!((&answer["outcome"], &answer["source"]["tier"]), (&json!("restarted"), &json!("scan")), "{answer}");
    assert!(answer["source"]["failed_tiers"].to_string().contains("has no cache.json"), "{answer}");
    assert_eq!(service.warned("there is no ConfigMap").await, 1);
    eventually("it is made anew", async || ground.cache_document().await).await;
    eventually("it works again", async || failed(&service, &image, "configmap").await.is_empty().then_some(())).await;
}

/// A gzip that breaks off.
fn truncated() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, b"{\"images\": {\"web:1\": []}}").unwrap();
    let whole = encoder.finish().unwrap();
    whole[..whole.len() - 9].to_vec()
}

async fn a_config_map_spoiled_under_a_service_is_replaced(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = start(&ground).await;
    eventually("the ConfigMap is made", async || ground.cache_document().await).await;
    let map = cache(&ground, &json!({}));
    for (what, spoilt, says, code) in [
        ("without its key", json!({"data": {"cache.json": null}}), "has no key cache.json", "no_key"),
        ("empty", json!({"data": {"cache.json": ""}}), "not a cache document: EOF", "invalid"),
        ("invalid JSON", json!({"data": {"cache.json": "{\"images\": {"}}), "not a cache document: EOF", "invalid"),
        (
            "a truncated gzip",
            json!({"data": {"cache.json": null}, "binaryData": {"cache.json.gz": STANDARD.encode(truncated())}}),
            "its gzip form is damaged",
            "invalid",
        ),
    ] {
        ground.patch(&map, "somebody", spoilt).await;
        let checked = ground.run_as(&ground.fresh_user(), &["check", "-o", "name"]).await;
        assert_eq!((checked.code, checked.stdout), (3, format!("{code}\n")), "{what}");
        let found = ground.run_as(&ground.fresh_user(), &["lookup", &image, "-o", "json"]).await.json();
        assert_eq!((&found["source"]["tier"], names(&found)), (&json!("scan"), vec!["web".to_owned()]), "{found}");
        let others = &found["source"]["failed_tiers"];
        assert!(others[0]["reason"].to_string().contains("does not exist"), "{what}: the mount: {others}");
        assert!(others[1]["reason"].to_string().contains(says), "{what}: the ConfigMap: {others}");
        assert_eq!(rebuild(&service).await["result"], "changed", "{what}");
        service.warned(says).await;
        assert_eq!(failed(&service, &image, "configmap").await, "", "{what}: it works again");
        let stored = ground.get(&map).await;
        assert!(stored["data"]["cache.json"].to_string().contains(&image), "{what}: {stored}");
        assert!(stored.get("binaryData").is_none(), "{what}: one form, one truth: {stored}");
    }
}

async fn a_truncated_gzip_on_the_mount_is_told(ground: Ground) {
    let image = ground.image("web");
    let directory = ground.directory().join("volume");
    let mut volume = ProjectedVolume::create(&directory).unwrap();
    let mut show = |key: &str, content: &[u8]| {
        volume.write(&BTreeMap::from([(key.to_owned(), content.to_vec())])).unwrap();
    };
    show("cache.json", runs(&ground, &image, "web").to_string().as_bytes());
    let service = ground.service().mount(&directory).start_ready().await;
    show("cache.json.gz", &truncated());
    let is_told = |status: &Value| status["tiers"]["mount"]["error"].to_string().contains("its gzip form is damaged");
    service.wait_for_status("the damage is told", is_told).await;
    assert_eq!(names(&service.lookup(&image).await), ["web"], "memory goes on");
    assert!(failed(&service, &image, "mount").await.contains("its gzip form is damaged"));
    let check = ["check", "--cache-dir", directory.to_str().unwrap(), "-o", "name"];
    let checked = ground.run_as(&ground.fresh_user(), &check).await;
    assert!(checked.code == 3 && checked.stdout.ends_with("mount_invalid\n"), "{checked:?}");
}

async fn a_config_map_older_than_memory_is_not_taken(ground: Ground) {
    let image = ground.image("web");
    let ago = |minutes| Timestamp::now() - SignedDuration::from_mins(minutes);
    let scanned = |minutes, name: &str| {
        scanned_document(ago(minutes), None, &[(&image, &[&deployment(ground.namespace(), name, &image)])])
    };
    ground.create(&cache(&ground, &scanned(20, "older"))).await;
    let mut volume = ground.volume();
    volume.show(&scanned(10, "newer"));
    let service = ground.service().mount(volume.directory()).start_ready().await;
    service.push(&PushMessage::now(&ground.image("unknown"), 1)).await;
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="configmap",result="older"}"#).await, 1.0);
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="configmap",result="loaded"}"#).await, 0.0);
}

async fn a_config_map_made_immutable_under_us_is_told(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = start(&ground).await;
    eventually("the ConfigMap is made", async || ground.cache_document().await).await;
    let map = cache(&ground, &json!({}));
    ground.patch(&map, "somebody", json!({"immutable": true})).await;
    ground.create(&deployment(ground.namespace(), "young", &image)).await;
    let answer = service.push(&PushMessage::now(&image, 1)).await.json();
    assert_eq!((&answer["outcome"], answer["workloads"].as_array().unwrap().len()), (&json!("restarted"), 2));
    let is_told = |status: &Value| status["tiers"]["configmap"]["write_error"].to_string().contains("is immutable");
    let status = service.wait_for_status("the ConfigMap is said to be immutable", is_told).await;
    assert!(status["tiers"]["configmap"]["write_error"].to_string().contains("kubectl"), "it says what to do");
    for _ in 0..3 {
        let refused = send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
        assert!(refused.status != 200 && refused.text().contains("is immutable"), "{}", refused.text());
    }
    assert_eq!(service.warned("is immutable").await, 1, "one line, however often it is tried: {:?}", service.log());
    assert_eq!(names(&service.lookup(&image).await), ["web", "young"], "memory goes on");

    let scoped = ["rebuild", "--namespaces", ground.namespace()];
    let ran = ground.run_as(&ground.fresh_user(), &scoped).await;
    let message = ran.failed_with_one_sentence();
    let replace = format!("kubectl -n {} delete configmap deployment-image-cache", ground.namespace());
    assert!(message.contains("is immutable") && message.contains(&replace), "{message}");
    let checked = ground.run_as(&ground.fresh_user(), &["check", "-o", "name"]).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (0, "immutable\n"), "{checked:?}");
    // As it says.
    ground.delete(&map).await;
    assert_eq!(ground.run_as(&ground.fresh_user(), &scoped).await.stdout, "changed\n");
}

async fn a_forbidden_config_map_leaves_the_scan(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    ground.create(&cache(&ground, &runs(&ground, &image, "of-somebody"))).await;
    let user = ground.real().fresh_limited_user();
    let workloads = json!(["deployments", "statefulsets", "daemonsets"]);
    // `allow` waits for the permission to get this one.
    let none = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["none"], "verbs": ["get"]});
    let work = json!({"apiGroups": ["apps"], "resources": workloads, "verbs": ["get", "list", "patch"]});
    allow(&ground, &user, json!([none, work])).await;
    let service = ground.service().user(&user).arguments(["--namespaces", ground.namespace()]).start_ready().await;
    let answer = service.push(&PushMessage::now(&image, 1)).await.json();
    assert_eq!((&answer["outcome"], &answer["source"]["tier"]), (&json!("restarted"), &json!("scan")), "{answer}");
    // The read, or the write after the scan, whichever was last.
    assert!(answer["source"]["failed_tiers"].to_string().contains(" resource \\\"configmaps\\\""), "{answer}");
    service.warned("cannot get resource").await;
    let error = service.status().await["tiers"]["configmap"]["error"].to_string();
    assert!(error.contains("configmaps"), "{error}");
    let refused = send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
    assert!(refused.status != 200 && refused.text().contains("configmaps"), "{}", refused.text());
    assert_eq!(names(&service.lookup(&image).await), ["web"], "memory goes on");
}

/// A ConfigMap that was changed so long ago, by the API server's own book.
async fn create_before(ground: &Ground, minutes: i64, document: &Value) {
    let kubernetes = ground.embedded_kubernetes();
    kubernetes.set_clock_offset(SignedDuration::from_mins(-minutes));
    ground.create(&cache(ground, document)).await;
    kubernetes.set_clock_offset(SignedDuration::ZERO);
}

const STUCK: &str = "the mount no longer follows the ConfigMap";

/// A few rounds, each of which reads the ConfigMap and writes what its scan has found.
async fn push_some(ground: &Ground, service: &Service) {
    for number in 0..3 {
        ground.create(&deployment(ground.namespace(), &format!("new-{number}"), &ground.image("new"))).await;
        let answer = service.push(&PushMessage::now(&ground.image("new"), number)).await.json();
        assert_eq!(answer["outcome"], "restarted", "{answer}");
    }
}

async fn warnings(service: &Service) -> String {
    service.status().await["tiers"]["mount"]["warnings"].to_string()
}

async fn a_subpath_mount_that_never_changes_is_told(ground: Ground) {
    let image = ground.image("web");
    let directory = ground.directory().join("subpath");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("cache.json"), runs(&ground, &image, "old").to_string()).unwrap();
    create_before(&ground, 10, &runs(&ground, &image, "web")).await;
    let service = ground.service().mount(&directory).start_ready().await;
    assert_eq!(names(&service.lookup(&image).await), ["old"]);
    assert!(warnings(&service).await.contains("subPath"), "{}", warnings(&service).await);
    push_some(&ground, &service).await;
    let told = warnings(&service).await;
    assert!(told.contains("subPath") && told.contains(STUCK), "{told}");
    assert_eq!(service.warned(STUCK).await, 1, "{:?}", service.log());
    let check = ["check", "--cache-dir", directory.to_str().unwrap(), "-o", "name"];
    let checked = ground.run_as(&ground.fresh_user(), &check).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (0, "subpath_mount\n"), "{checked:?}");
}

async fn a_mount_that_stops_being_updated_is_noticed(ground: Ground) {
    let image = ground.image("web");
    let mut volume = ground.volume();
    volume.show(&runs(&ground, &image, "old"));
    create_before(&ground, 10, &runs(&ground, &image, "web")).await;
    let service = ground.service().mount(volume.directory()).start_ready().await;
    assert_eq!(warnings(&service).await, "null", "nothing was compared yet");
    push_some(&ground, &service).await;
    assert!(warnings(&service).await.contains(STUCK), "{}", warnings(&service).await);
    assert_eq!(service.warned(STUCK).await, 1, "one line, however often the ConfigMap is written: {:?}", service.log());

    volume.show(&ground.cache_document().await.unwrap());
    service.wait_for_status("it follows again", |status| status["tiers"]["mount"]["warnings"].is_null()).await;
    push_some_more(&ground, &service).await;
    assert_eq!((service.warned(STUCK).await, warnings(&service).await.as_str()), (1, "null"));
}

/// One more round.
async fn push_some_more(ground: &Ground, service: &Service) {
    let answer = service.push(&PushMessage::now(&ground.image("nobody"), 1)).await.json();
    assert_eq!(answer["outcome"], "not_in_use", "{answer}");
}

async fn a_mount_that_is_only_late_is_left_alone(ground: Ground) {
    let image = ground.image("web");
    let mut volume = ground.volume();
    volume.show(&runs(&ground, &image, "old"));
    create_before(&ground, 2, &runs(&ground, &image, "web")).await;
    let service = ground.service().mount(volume.directory()).start_ready().await;
    push_some(&ground, &service).await;
    assert_eq!(warnings(&service).await, "null");
}
