//! The document of a scope of which a part could not be seen: each part has its own time, and entries are kept.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::stage::{Permission, Stage};
use super::{HOUR, ready};
use crate::chain::rebuild;
use crate::support::documents::{names, scanned_document};
use crate::support::fixtures::{PushMessage, config_map};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_partial_scan_keeps_the_entries_of_the_unseen_part);
    suite.on_both(the_keeper_keeps_them_too);
    suite.on_both(a_document_proves_each_part_by_its_own_time);
    suite.on_embedded(a_mount_alone_serves_what_it_has);
}

/// The times of a document's parts in one namespace, each once.
fn times(document: &Value, namespace: &str) -> Vec<Value> {
    let parts = document["parts"].as_array().unwrap_or_else(|| panic!("no parts in {document}"));
    let of_namespace = parts.iter().filter(|part| part["namespace"] == namespace);
    let mut times: Vec<_> = of_namespace.map(|part| part["as_of"].clone()).collect();
    times.dedup();
    times
}

async fn a_partial_scan_keeps_the_entries_of_the_unseen_part(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::there());
    let ground = &stage.ground;
    let service = stage.service(&permission, HOUR).start().await;
    ready(&service).await;
    let whole = eventually("the document is written", async || ground.cache_document().await).await;
    assert!(whole["as_of"].is_string() && whole["scope"].is_object() && whole.get("parts").is_none(), "{whole}");

    permission.set(false);
    ground.delete(&stage.here).await;
    let answer = rebuild(&service).await;
    assert_eq!(
        (&answer["result"], answer["unseen_parts"].as_array().unwrap().len()),
        (&json!("changed"), 3),
        "{answer}"
    );
    let partial = ground.cache_document().await.unwrap();
    assert!(
        partial.get("as_of").is_none() && partial.get("scope").is_none(),
        "no old reader takes it for all: {partial}"
    );
    assert_eq!(partial["images"], json!({&stage.image: [{"name": "web", "namespace": stage.gone}]}));
    assert_eq!(times(&partial, &stage.gone), [whole["as_of"].clone()]);
    assert_eq!(times(&partial, ground.namespace()).len(), 1);
    assert_eq!(rebuild(&service).await["result"], "unchanged");
    assert_eq!(names(&service.lookup(&stage.image).await), ["web"], "as in memory");

    // A fresh replica begins with it.
    let fresh = stage.service(&permission, HOUR).start().await;
    ready(&fresh).await;
    assert_eq!(names(&fresh.lookup(&stage.image).await), ["web"]);

    permission.set(true);
    assert_eq!(rebuild(&service).await["unseen_parts"], Value::Null);
    let whole = ground.cache_document().await.unwrap();
    assert!(whole["as_of"].is_string() && whole.get("parts").is_none(), "{whole}");
}

async fn the_keeper_keeps_them_too(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let ground = &stage.ground;
    let before = scanned_document(
        Timestamp::now() - SignedDuration::from_secs(60),
        Some(&[ground.namespace(), &stage.gone]),
        &[(&stage.image, &[&stage.there])],
    );
    let map = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &before.to_string());
    ground.create(&map).await;
    let service = stage.service(&permission, HOUR).configure(|config| config.cache.watch = true).start().await;
    ready(&service).await;
    let both = json!([
        {"name": "web", "namespace": ground.namespace()},
        {"name": "web", "namespace": stage.gone},
    ]);
    let is_written = async || ground.cache_document().await.filter(|document| document["images"][&stage.image] == both);
    let written = eventually("the keeper has written", is_written).await;
    assert_eq!(times(&written, &stage.gone).len(), 1, "{written}");
    let time: Timestamp = times(&written, &stage.gone)[0].as_str().unwrap().parse().unwrap();
    assert_eq!(json!(time), before["as_of"]);
}

async fn a_document_proves_each_part_by_its_own_time(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let ground = &stage.ground;
    let service = stage.service(&permission, HOUR).start().await;
    ready(&service).await;
    // A prompt message shows that the clocks agree.
    let empty = json!({"message": {"messageId": "0", "publishTime": Timestamp::now().to_string()}});
    service.deliver(&[], empty.to_string()).await;
    let ago = |minutes: i64| Timestamp::now() - SignedDuration::from_mins(minutes);
    let part =
        |kind: &str, namespace: &str, as_of: Timestamp| json!({"kind": kind, "namespace": namespace, "as_of": as_of});
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
    let parts = kinds.map(|kind| [part(kind, ground.namespace(), ago(0)), part(kind, &stage.gone, ago(30))]);
    let document = json!({"version": 1, "parts": parts.as_flattened(), "images": {}});
    let map = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &document.to_string());
    let path = format!("/api/v1/namespaces/{}/configmaps/deployment-image-cache", ground.namespace());
    let data = json!({"data": map["data"]});
    eventually("the scan of the start is written", async || ground.cache_document().await).await;
    ground.request("PATCH", &path, Some(data)).await.unwrap();
    let unknown = ground.image("unknown");
    let push = |minutes| PushMessage { published: ago(minutes), ..PushMessage::now(&unknown, 1) };
    let answer = service.push(&push(60)).await;
    assert_eq!(answer.status, 200, "older than what is known of the part: {}", answer.text());
    assert_eq!(answer.json()["source"]["authoritative"], true, "{}", answer.text());
    let answer = service.push(&push(10)).await;
    assert_eq!(answer.status, 503, "younger: {}", answer.text());
}

async fn a_mount_alone_serves_what_it_has(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let mut volume = stage.ground.volume();
    let namespaces = [stage.ground.namespace(), &*stage.gone];
    let both: &[&Value] = &[&stage.here, &stage.there];
    volume.show(&scanned_document(Timestamp::now(), Some(&namespaces), &[(&stage.image, both)]));
    let service = stage.service(&permission, Duration::ZERO).mount(volume.directory()).start().await;
    ready(&service).await;
    let answer = service.push(&PushMessage::now(&stage.image, 1)).await;
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (2, 1)), "{}", answer.text());
    permission.set(true);
    eventually("the push that was kept is done", async || (stage.generations().await == (2, 2)).then_some(())).await;
}
