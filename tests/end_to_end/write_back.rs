//! The write-back of a scan: what it leaves alone, and who wins where several write.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::chain::rebuild;
use crate::support::documents::{document, scanned_document};
use crate::support::fixtures::{PushMessage, config_map, deployment};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(an_unchanged_scan_is_not_written);
    suite.on_both(what_others_keep_in_the_config_map_stays);
    suite.on_both(of_two_scans_the_newer_stays);
    suite.on_both(an_older_document_written_meanwhile_is_replaced);
    suite.on_both(a_config_map_made_meanwhile_is_taken_over);
    suite.on_both(a_config_map_deleted_meanwhile_is_made_anew);
    suite.on_both(a_rebuild_asked_for_during_another_round_is_answered);
    suite.on_both(an_immutable_config_map_is_said_to_be_one);
}

fn cache(ground: &Ground, document: &Value) -> Value {
    config_map(ground.namespace(), "deployment-image-cache", "cache.json", &document.to_string())
}

async fn an_unchanged_scan_is_not_written(ground: Ground) {
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    let map = cache(&ground, &json!({}));
    assert_eq!(rebuild(&service).await["result"], "unchanged");
    let before = ground.get(&map).await;
    assert_eq!(rebuild(&service).await, json!({"result": "unchanged", "images": 1, "workloads": 1}));
    assert_eq!(ground.get(&map).await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    ground.create(&deployment(ground.namespace(), "young", &ground.image("web"))).await;
    assert_eq!(rebuild(&service).await, json!({"result": "changed", "images": 1, "workloads": 2}));
    assert_ne!(ground.get(&map).await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

async fn what_others_keep_in_the_config_map_stays(ground: Ground) {
    let mut map = cache(&ground, &document(&[]));
    map["metadata"]["labels"] = json!({"team": "shop"});
    map["metadata"]["annotations"] = json!({"note": "by hand"});
    map["data"]["notes.txt"] = json!("of somebody else");
    ground.create(&map).await;
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    let stored = ground.get(&map).await;
    assert_eq!(stored["metadata"]["labels"]["team"], "shop");
    assert_eq!(stored["metadata"]["annotations"]["note"], "by hand");
    assert_eq!(stored["data"]["notes.txt"], "of somebody else");
    assert!(ground.cache_document().await.unwrap()["images"][ground.image("web")].is_array());
}

/// A service of one namespace for which somebody is quicker: `meanwhile` runs just before its first write of the
/// ConfigMap, after the scan.
async fn overtaken<F: Future<Output = ()> + Send + 'static>(
    ground: &Ground,
    meanwhile: impl Fn(Ground) -> F + Send + Sync + 'static,
) -> Service {
    let (own, meanwhile, done) = (ground.clone(), Arc::new(meanwhile), Arc::new(AtomicBool::new(false)));
    let service = ground.service_in_process().before_call(move |method, uri| {
        let is_first_write = method != Method::GET && uri.contains("configmaps") && !done.swap(true, Ordering::Relaxed);
        let (own, meanwhile) = (own.clone(), Arc::clone(&meanwhile));
        async move {
            if is_first_write {
                meanwhile(own).await;
            }
        }
    });
    let namespaces = vec![ground.namespace().to_owned()];
    service.configure(|config| config.policy.namespaces = namespaces).start_ready().await
}

/// What is in the ConfigMap before: older than any scan.
async fn create_old(ground: &Ground) {
    let old = Timestamp::now() - SignedDuration::from_mins(1);
    ground.create(&cache(ground, &scanned_document(old, Some(&[ground.namespace()]), &[]))).await;
}

/// Another replica's scan of the same namespace, which found `theirs` alone.
async fn write_theirs(ground: Ground, as_of: Timestamp) {
    let image = ground.image("theirs");
    let theirs = deployment(ground.namespace(), "theirs", &image);
    let document = scanned_document(as_of, Some(&[ground.namespace()]), &[(&image, &[&theirs])]);
    let patch = json!({"data": {"cache.json": document.to_string()}});
    ground.patch(&cache(&ground, &document), "another-replica", patch).await;
}

/// Which of `web` (ours) and `theirs` the stored document names.
async fn stored(ground: &Ground) -> (bool, bool) {
    let stored = ground.cache_document().await.unwrap();
    let has = |name: &str| stored["images"][ground.image(name)].is_array();
    (has("web"), has("theirs"))
}

async fn of_two_scans_the_newer_stays(ground: Ground) {
    create_old(&ground).await;
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let service = overtaken(&ground, |own| async move { write_theirs(own, Timestamp::now()).await }).await;
    assert_eq!(rebuild(&service).await["result"], "newer_kept");
    assert_eq!(stored(&ground).await, (false, true));
}

async fn an_older_document_written_meanwhile_is_replaced(ground: Ground) {
    create_old(&ground).await;
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let a_little_older = Timestamp::now() - SignedDuration::from_secs(10);
    let service = overtaken(&ground, move |own| async move {
        write_theirs(own.clone(), a_little_older).await;
        let label = json!({"metadata": {"labels": {"team": "shop"}}});
        own.patch(&cache(&own, &json!({})), "somebody", label).await;
    });
    let service = service.await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    assert_eq!(stored(&ground).await, (true, false));
    assert_eq!(ground.get(&cache(&ground, &json!({}))).await["metadata"]["labels"]["team"], "shop");
}

async fn a_config_map_made_meanwhile_is_taken_over(ground: Ground) {
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let by_hand = json!({"images": {}, "note": "by hand"});
    let service = overtaken(&ground, move |own| {
        let map = cache(&own, &by_hand);
        async move { drop(own.create(&map).await) }
    });
    let _service = service.await;
    eventually("ours is in it", async || ground.cache_document().await.filter(|d| d["note"].is_null())).await;
    assert_eq!(stored(&ground).await, (true, false));
}

async fn a_config_map_deleted_meanwhile_is_made_anew(ground: Ground) {
    create_old(&ground).await;
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let service = overtaken(&ground, |own| async move { own.delete(&cache(&own, &json!({}))).await }).await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    assert_eq!(stored(&ground).await, (true, false));
}

async fn a_rebuild_asked_for_during_another_round_is_answered(ground: Ground) {
    create_old(&ground).await;
    let (release, released) = watch::channel(false);
    let (arrive, mut arrived) = watch::channel(false);
    let service = ground.service_in_process().before_call(move |method, uri| {
        let (mut released, arrive) = (released.clone(), arrive.clone());
        async move {
            if method == Method::GET && uri.contains("configmaps") {
                arrive.send_replace(true);
                drop(released.wait_for(|released| *released).await);
            }
        }
    });
    let service = Arc::new(service.start().await);
    drop(arrived.wait_for(|arrived| *arrived).await);
    let asked = Arc::clone(&service);
    let rebuilt = tokio::spawn(async move { rebuild(&asked).await });
    // The round of the start is at its GET; the request has time to arrive.
    for _ in 0..20 {
        service.status().await;
    }
    release.send_replace(true);
    eventually("the rebuild is answered", async || rebuilt.is_finished().then_some(())).await;
    rebuilt.await.unwrap();
}

async fn an_immutable_config_map_is_said_to_be_one(ground: Ground) {
    let mut map = cache(&ground, &document(&[]));
    map["immutable"] = json!(true);
    ground.create(&map).await;
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    let answer = service.push(&PushMessage::now(&image, 1)).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    let says = |status: &Value| status["tiers"]["configmap"]["write_error"].to_string().contains("is immutable");
    service.wait_for_status("the ConfigMap is said to be immutable", says).await;
    assert_eq!(service.status().await["index"]["tier"], "scan");
    // Memory goes on without it: what is new in the cluster is found, and rolled.
    let young = ground.image("young");
    ground.create(&deployment(ground.namespace(), "young", &young)).await;
    let answer = service.push(&PushMessage::now(&young, 1)).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    service.wait_for_lookup(&young, &["young"]).await;
    assert_eq!(ground.get(&map).await["data"], map["data"]);
}
