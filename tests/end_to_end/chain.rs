//! The chain: the mount, then the ConfigMap, then a scan that is written back; and what each costs the API server.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::documents::{document, names};
use crate::support::fixtures::{PushMessage, config_map, daemon_set, deployment, stateful_set};
use crate::support::ground::{ApiCall, Ground};
use crate::support::http::send;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(serve_becomes_ready_on_an_empty_cluster);
    suite.on_both(the_config_map_alone_makes_serve_ready);
    suite.on_both(a_config_map_that_is_no_use_is_replaced);
    suite.on_both(a_scan_lists_only_the_namespaces_of_its_scope);
    suite.on_both(a_lookup_causes_no_api_call);
    suite.on_both(allow_stale_costs_the_restart_alone);
    suite.on_both(a_hundred_unknown_images_cost_two_rounds);
    suite.on_both(the_metrics_tell_the_tiers_apart);
    suite.on_both(a_timer_scans_without_a_push);
}

pub const LISTED: [&str; 3] = ["deployments", "statefulsets", "daemonsets"];

/// The calls of this verb and resource; of a LIST only the first page.
pub fn count(calls: &[ApiCall], verb: &str, resource: &str) -> usize {
    let is_one = |call: &&ApiCall| call.verb == verb && call.resource == resource && !call.uri.contains("continue=");
    calls.iter().filter(is_one).count()
}

/// Waits until the scan is in the ConfigMap.
async fn written(ground: &Ground, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || ground.cache_document().await.filter(&condition)).await
}

async fn serve_becomes_ready_on_an_empty_cluster(ground: Ground) {
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    let document = written(&ground, "the ConfigMap is made", |_| true).await;
    assert_eq!(document["images"], json!({}));
    assert_eq!(document["scope"], json!({"namespaces": [ground.namespace()]}));
    assert_eq!(document["counts"], json!({"images": 0, "workloads": 0}));
    assert!(document["as_of"].is_string(), "{document}");
    let found = service.lookup(&ground.image("web")).await;
    assert_eq!((&found["source"]["tier"], &found["workloads"]), (&json!("scan"), &json!([])));
    let is_well = |status: &Value| {
        let configmap = &status["tiers"]["configmap"];
        configmap["error"].is_null() && configmap["as_of"] == document["as_of"]
    };
    service.wait_for_status("the ConfigMap is said to be there", is_well).await;
    let calls = service.api_calls();
    assert_eq!((count(&calls, "get", "configmaps"), count(&calls, "create", "configmaps")), (1, 1), "{calls:?}");
    for kind in LISTED {
        assert_eq!(count(&calls, "list", kind), 1, "{kind}");
    }
}

async fn the_config_map_alone_makes_serve_ready(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    let text = document(&[(&image, &[&web])]).to_string();
    ground.create(&config_map(ground.namespace(), "deployment-image-cache", "cache.json", &text)).await;
    let service = ground.service().start_ready().await;
    let found = service.lookup(&image).await;
    assert_eq!((names(&found), &found["source"]["tier"]), (vec!["web".to_owned()], &json!("configmap")));
    let calls = service.api_calls();
    assert_eq!((calls.len(), count(&calls, "get", "configmaps")), (1, 1), "{calls:?}");
}

async fn a_config_map_that_is_no_use_is_replaced(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let cases = [
        ("another key", config_map(ground.namespace(), "deployment-image-cache", "notes", "of somebody"), "no key"),
        (
            "no JSON",
            config_map(ground.namespace(), "deployment-image-cache", "cache.json", "{"),
            "not a cache document",
        ),
        ("empty", config_map(ground.namespace(), "deployment-image-cache", "cache.json", ""), "not a cache document"),
    ];
    for (what, map, says) in cases {
        ground.create(&map).await;
        let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
        service.warned(says).await;
        assert_eq!(names(&service.lookup(&image).await), ["web"], "{what}");
        written(&ground, what, |document| document["images"][&image][0]["name"] == "web").await;
        let stored = ground.get(&map).await;
        let kept = map["data"]["notes"].clone();
        assert_eq!(stored["data"]["notes"], kept, "{what}");
        ground.delete(&map).await;
    }
}

async fn a_scan_lists_only_the_namespaces_of_its_scope(ground: Ground) {
    let (second, outside) = (ground.another_namespace("b").await, ground.another_namespace("c").await);
    let image = ground.image("web");
    let inside = [
        deployment(ground.namespace(), "one", &image),
        stateful_set(&second, "two", &image),
        daemon_set(&second, "three", &image),
    ];
    for workload in inside.iter().chain([&deployment(&outside, "four", &image)]) {
        ground.create(workload).await;
    }
    let scope = format!("{},{second}", ground.namespace());
    let service = ground.service().arguments(["--namespaces", &scope]).start_ready().await;
    let mut found = names(&service.lookup(&image).await);
    found.sort();
    assert_eq!(found, ["one", "three", "two"]);
    assert_eq!(service.push(&PushMessage::now(&image, 1)).await.json()["outcome"], "restarted");

    let calls = service.api_calls();
    let mut listed: Vec<_> =
        calls.iter().filter(|call| call.verb == "list").map(|call| call.namespace.clone()).collect();
    listed.sort();
    listed.dedup();
    assert_eq!(listed, [Some(ground.namespace().to_owned()), Some(second)]);
    assert!(calls.iter().all(|call| call.namespace != Some(outside.clone())), "{calls:?}");
}

async fn a_lookup_causes_no_api_call(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = ground.service().start_ready().await;
    written(&ground, "the start is over", |_| true).await;
    let before = service.api_calls();
    for _ in 0..50 {
        assert_eq!(names(&service.lookup(&image).await), ["web"]);
        assert_eq!(service.lookup(&ground.image("unknown")).await["workloads"], json!([]));
    }
    service.status().await;
    assert_eq!(service.metric(r#"pushroll_lookups_total{tier="scan"}"#).await, 100.0);
    assert_eq!(service.api_calls(), before);
}

async fn allow_stale_costs_the_restart_alone(ground: Ground) {
    let (image, young) = (ground.image("web"), ground.image("young"));
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    ground.create(&deployment(ground.namespace(), "young", &young)).await;
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &[&web])]));
    let service = ground.service().arguments(["--allow-stale"]).mount(volume.directory()).start_ready().await;

    let missed = service.push(&PushMessage::now(&young, 1)).await.json();
    assert_eq!((&missed["outcome"], &missed["source"]["authoritative"]), (&json!("not_in_use"), &json!(false)));
    assert!(missed["warnings"].to_string().contains("may have been missed"), "{missed}");
    assert_eq!(service.api_calls(), [], "a miss");

    let hit = service.push(&PushMessage::now(&image, 1)).await.json();
    assert_eq!((&hit["outcome"], &hit["source"]["tier"]), (&json!("restarted"), &json!("mount")));
    assert!(hit["warnings"].to_string().contains("may have been missed"), "{hit}");
    let calls = service.api_calls();
    // Each once or, where a controller writes its status in between, again: a set.
    let calls: BTreeSet<_> = calls.iter().map(|call| (&*call.verb, &*call.resource, call.name.as_deref())).collect();
    assert_eq!(calls, [("get", "deployments", Some("web")), ("patch", "deployments", Some("web"))].into());
}

async fn a_hundred_unknown_images_cost_two_rounds(ground: Ground) {
    // The default interval: rounds begin five seconds apart, and a hundred pushes arrive in less. None is given up on.
    let arguments = ["--rebuild-interval", "5s", "--hold", "60s"];
    let service = std::sync::Arc::new(ground.service().arguments(arguments).start_ready().await);
    written(&ground, "the start is over", |_| true).await;
    let start = service.api_calls();

    let mut pushes = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (service, image) = (std::sync::Arc::clone(&service), ground.image(&format!("unknown-{number}")));
        pushes.spawn(async move { service.push(&PushMessage::now(&image, 1)).await });
    }
    while let Some(answer) = pushes.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((&answer["outcome"], &answer["source"]["authoritative"]), (&json!("not_in_use"), &json!(true)));
    }
    let calls = &service.api_calls()[start.len()..];
    assert!((1..=2).contains(&count(calls, "get", "configmaps")), "{calls:?}");
    for kind in LISTED {
        assert!((1..=2).contains(&count(calls, "list", kind)), "{kind}: {calls:?}");
    }
    assert_eq!(service.metric("pushroll_held_pushes").await, 0.0);
    assert_eq!(service.metric(r#"pushroll_pushes_total{outcome="not_in_use"}"#).await, 100.0);
}

async fn the_metrics_tell_the_tiers_apart(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let text = document(&[(&image, &[&web])]).to_string();
    ground.create(&config_map(ground.namespace(), "deployment-image-cache", "cache.json", &text)).await;
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    assert_eq!(service.metric("pushroll_cache_document_bytes").await, text.len() as f64);
    service.lookup(&image).await;
    assert_eq!(service.metric(r#"pushroll_lookups_total{tier="configmap"}"#).await, 1.0);
    assert_eq!(service.metric(r#"pushroll_index_as_of_seconds{tier="configmap"}"#).await, 0.0, "it does not say");

    service.push(&PushMessage::now(&image, 1)).await;
    service.lookup(&image).await;
    assert_eq!(service.metric(r#"pushroll_lookups_total{tier="configmap"}"#).await, 2.0, "the push began with it");
    assert_eq!(service.metric(r#"pushroll_lookups_total{tier="scan"}"#).await, 1.0);
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="scan",result="loaded"}"#).await, 1.0);
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="mount",result="failed"}"#).await, 1.0);
    let status = service.status().await;
    let as_of: jiff::Timestamp = status["tiers"]["scan"]["as_of"].as_str().unwrap().parse().unwrap();
    let shown = service.metric(r#"pushroll_index_as_of_seconds{tier="scan"}"#).await;
    assert_eq!(shown, as_of.as_second() as f64);
    assert_eq!((&status["index"]["tier"], &status["index"]["workloads"]), (&json!("scan"), &json!(1)));
    for (labels, times) in [
        (r#"{verb="list",resource="daemonsets",code="200"}"#, 1.0),
        (r#"{verb="patch",resource="deployments",code="200"}"#, 1.0),
    ] {
        assert_eq!(service.metric(&format!("pushroll_kubernetes_requests_total{labels}")).await, times, "{labels}");
    }
}

async fn a_timer_scans_without_a_push(ground: Ground) {
    let arguments = ["--namespaces", ground.namespace(), "--refresh-interval", "20ms"];
    let service = ground.service().arguments(arguments).start_ready().await;
    let image = ground.image("young");
    ground.create(&deployment(ground.namespace(), "young", &image)).await;
    service.wait_for_lookup(&image, &["young"]).await;
    written(&ground, "the document has it", |document| document["images"][&image].is_array()).await;
}

/// `POST /v1/rebuild`
pub async fn rebuild(service: &Service) -> Value {
    let answer = send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], Vec::new()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
