//! `serve --watch`: the index follows the cluster event by event, no push scans while the watch is live, and one
//! replica keeps the ConfigMap up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use pushroll::server::ServeConfig;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::chain::{LISTED, count};
use crate::support::documents::names;
use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::service::{Service, ServiceBuilder};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_under_a_watch_costs_its_patches_alone);
    suite.on_both(a_watch_follows_every_change);
    suite.on_both(what_is_not_restarted_rests_on_a_fresh_look);
    suite.on_both(a_workload_that_moved_on_is_looked_at_again);
    suite.on_both(a_selector_holds_under_a_watch);
    suite.on_both(deliveries_under_a_watch_roll_once);
    suite.on_both(a_watch_that_hangs_is_not_trusted);
    suite.on_both(without_the_permission_to_watch_pushes_scan);
    suite.on_both(one_replica_keeps_the_config_map);
    suite.on_both(without_a_lease_the_config_map_is_kept_all_the_same);
    suite.on_embedded(a_watch_from_too_long_ago_begins_anew);
    suite.on_embedded(the_watch_outlives_an_outage);
    suite.on_embedded(what_came_during_the_list_is_known_before_it_counts);
    suite.on_embedded(answers_that_never_go_on_are_no_sign_of_life);
}

fn watching(ground: &Ground) -> ServiceBuilder {
    ground.service().arguments(["--watch", "--namespaces", ground.namespace()])
}

async fn wait_until_live(service: &Service) {
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
}

/// Waits until the service's index has exactly these running `image`.
async fn wait_for_workloads(service: &Service, image: &str, expected: &[&str]) {
    eventually("the watch has told", async || (names(&service.lookup(image).await) == expected).then_some(())).await;
}

async fn push(service: &Service, message: &PushMessage, outcome: &str) -> Value {
    let answer = service.push(message).await;
    assert_eq!(answer.json()["outcome"], outcome, "{}", answer.text());
    answer.json()
}

/// The calls about workloads since the first `after`, without those for opening the watch again.
fn workload_calls(service: &Service, after: usize) -> Vec<String> {
    let calls = service.api_calls();
    let of_workloads = calls[after..].iter().filter(|call| LISTED.contains(&call.resource.as_str()));
    of_workloads.filter(|call| call.verb != "watch").map(|call| format!("{} {}", call.verb, call.resource)).collect()
}

async fn a_push_under_a_watch_costs_its_patches_alone(ground: Ground) {
    let image = ground.image("web");
    let idle = |mut manifest: Value| {
        // No controller writes to it between our look and our PATCH.
        manifest["spec"]["replicas"] = json!(0);
        manifest
    };
    let service = watching(&ground).start_ready().await;
    wait_until_live(&service).await;
    let workloads = [
        idle(deployment(ground.namespace(), "a", &image)),
        idle(stateful_set(ground.namespace(), "b", &image)),
        daemon_set(ground.namespace(), "c", &image),
    ];
    for workload in &workloads {
        ground.create(workload).await;
    }
    wait_for_workloads(&service, &image, &["a", "b", "c"]).await;
    // Status updates that follow the creation are over once they are observed.
    for workload in &workloads {
        settle(&ground, workload).await;
    }
    let found = service.lookup(&image).await;
    assert_eq!([&found["source"]["tier"], &found["source"]["authoritative"]], [&json!("watch"), &json!(true)]);

    let before = service.api_calls().len();
    push(&service, &PushMessage::now(&ground.image("unknown"), 9), "not_in_use").await;
    assert_eq!(workload_calls(&service, before), Vec::<String>::new(), "nobody runs it, and that is proven");
    let answer = push(&service, &PushMessage::now(&image, 1), "restarted").await;
    assert_eq!([&answer["source"]["tier"], &answer["source"]["authoritative"]], [&json!("watch"), &json!(true)]);
    let mut calls = workload_calls(&service, before);
    calls.sort();
    if ground.is_control_plane() {
        // Its controllers may write a status at any time, which is a conflict and a GET; never a LIST.
        calls.retain(|call| !call.starts_with("get "));
        calls.dedup();
    }
    assert_eq!(calls, ["patch daemonsets", "patch deployments", "patch statefulsets"]);
    for workload in &workloads {
        let generation = ground.generation(workload).await;
        assert_eq!(generation, 2, "{workload}");
    }
}

/// Waits until the controllers, where there are any, have seen a workload.
async fn settle(ground: &Ground, workload: &Value) {
    if ground.is_control_plane() {
        eventually("its controller has seen it", async || {
            let object = ground.get(workload).await;
            (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(())
        })
        .await;
    }
}

async fn a_watch_follows_every_change(ground: Ground) {
    let (one, two) = (ground.image("one"), ground.image("two"));
    let web = deployment(ground.namespace(), "web", &one);
    ground.create(&web).await;
    let service = watching(&ground).start_ready().await;
    wait_until_live(&service).await;
    wait_for_workloads(&service, &one, &["web"]).await;
    let name = &web["spec"]["template"]["spec"]["containers"][0]["name"];
    let containers = json!([{"name": name, "image": two}]);
    ground.patch(&web, "tester", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
    wait_for_workloads(&service, &two, &["web"]).await;
    wait_for_workloads(&service, &one, &[]).await;
    push(&service, &PushMessage::now(&one, 1), "not_in_use").await;
    push(&service, &PushMessage::now(&two, 1), "restarted").await;
    ground.delete(&web).await;
    wait_for_workloads(&service, &two, &[]).await;
    push(&service, &PushMessage::now(&two, 2), "not_in_use").await;
    // Of the start; changes bring no other.
    for kind in LISTED {
        assert_eq!(count(&service.api_calls(), "list", kind), 1, "{kind}");
    }
    let metrics = get(&format!("{}/metrics", service.internal)).await.text().to_owned();
    for line in [
        "pushroll_watch_live 1",
        "pushroll_index_as_of_seconds{tier=\"watch\"}",
        "pushroll_lookups_total{tier=\"watch\"}",
        "verb=\"watch\",resource=\"deployments\",code=\"200\"",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

async fn what_is_not_restarted_rests_on_a_fresh_look(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    let mut opted_out = deployment(ground.namespace(), "out", &image);
    opted_out["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
    ground.create(&web).await;
    ground.create(&opted_out).await;
    let service = watching(&ground).start_ready().await;
    wait_until_live(&service).await;
    wait_for_workloads(&service, &image, &["out", "web"]).await;
    let message = PushMessage::now(&image, 1);
    let answer = push(&service, &message, "restarted").await;
    assert_eq!(result_of(&answer, &opted_out)["code"], "opted_out");
    let before = service.api_calls().len();
    let again = push(&service, &message, "current").await;
    assert_eq!(result_of(&again, &web)["code"], "already_restarted");
    assert_eq!(workload_calls(&service, before), ["get deployments"], "our own record is proof wherever it is seen");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_selector_holds_under_a_watch(ground: Ground) {
    let image = ground.image("web");
    let (inside, outside) =
        (deployment(ground.namespace(), "in", &image), deployment(ground.namespace(), "out", &image));
    let mut labelled = inside.clone();
    labelled["metadata"]["labels"]["tier"] = json!("front");
    ground.create(&labelled).await;
    ground.create(&outside).await;
    let service = watching(&ground).arguments(["--selector", "tier=front"]).start_ready().await;
    wait_until_live(&service).await;
    let answer = push(&service, &PushMessage::now(&image, 1), "restarted").await;
    assert_eq!(result_of(&answer, &inside)["action"], "restarted");
    assert_eq!(result_of(&answer, &outside)["code"], "out_of_scope");
    assert_eq!((ground.generation(&inside).await, ground.generation(&outside).await), (2, 1));
}

/// Under the nose of the watch: what it told last is old, and the precondition says so.
async fn a_workload_that_moved_on_is_looked_at_again(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let is_blind = Arc::new(AtomicBool::new(false));
    let blind = Arc::clone(&is_blind);
    // Its watch requests end, and none is opened any more.
    let proxy = ApiProxy::start(&ground, move |request| {
        let is_blind = blind.load(Ordering::SeqCst) && request.uri.contains("watch=true");
        async move { if is_blind { Passage::Refuse(503, "not now") } else { Passage::Forward } }
    });
    let service = watching(&ground).through(&proxy.await).start_ready().await;
    wait_until_live(&service).await;
    is_blind.store(true, Ordering::SeqCst);
    let is_broken = |status: &Value| status["tiers"]["watch"]["error"].to_string().contains("not now");
    service.wait_for_status("the watch is broken", is_broken).await;
    let opted_out = json!({"metadata": {"annotations": {"pushroll.dev/restart": "false"}}});
    ground.patch(&web, "tester", opted_out).await;
    let generation = ground.generation(&web).await;
    let answer = push(&service, &PushMessage::now(&image, 1), "skipped").await;
    assert_eq!(result_of(&answer, &web)["code"], "opted_out");
    assert_eq!(ground.generation(&web).await, generation);
}

async fn deliveries_under_a_watch_roll_once(ground: Ground) {
    let image = ground.image("web");
    let workloads: Vec<Value> =
        ["a", "b", "c", "d"].map(|name| deployment(ground.namespace(), name, &image)).into_iter().collect();
    for workload in &workloads {
        ground.create(workload).await;
    }
    let replicas = [watching(&ground).start_ready().await, watching(&ground).start_ready().await];
    for replica in &replicas {
        wait_until_live(replica).await;
        wait_for_workloads(replica, &image, &["a", "b", "c", "d"]).await;
    }
    for round in 1..=3 {
        let message = PushMessage::now(&image, round);
        let deliveries = (0..10).map(|number| replicas[number % 2].push(&message));
        let answers = futures_util::future::join_all(deliveries).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", answers.iter().map(|a| a.text()));
        for workload in &workloads {
            assert_eq!(ground.generation(workload).await, 1 + i64::from(round), "round {round}");
        }
    }
}

async fn a_watch_that_hangs_is_not_trusted(ground: Ground) {
    let image = ground.image("web");
    let (hang, hangs) = watch::channel(false);
    let wait = move |_: Method, uri: String| {
        let mut hangs = hangs.clone();
        async move {
            if uri.contains("watch=true") {
                let _ = hangs.wait_for(|hangs| !hangs).await;
            }
        }
    };
    let namespaces = vec![ground.namespace().to_owned()];
    let service = ground
        .service_in_process()
        .configure(|config| {
            config.cache.watch = true;
            config.cache.watch_request = Duration::from_secs(1);
            config.cache.watch_patience = Duration::from_secs(2);
            config.policy.namespaces = namespaces;
        })
        .before_call(wait)
        .start_ready()
        .await;
    wait_until_live(&service).await;
    // Open requests end within a second, and the next is not answered any more.
    hang.send_replace(true);
    service.wait_for_status("the watch is not trusted", |status| status["tiers"]["watch"]["live"] == false).await;
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let answer = push(&service, &PushMessage::now(&image, 1), "restarted").await;
    assert_eq!(answer["source"]["tier"], "scan", "{answer}");
    service.wait_for_status("why is told", |status| status["tiers"]["watch"]["error"].is_string()).await;
    hang.send_replace(false);
    wait_until_live(&service).await;
    wait_for_workloads(&service, &image, &["web"]).await;
    assert_eq!(service.lookup(&image).await["source"]["tier"], "watch");
    assert_eq!(service.status().await["tiers"]["watch"]["error"], Value::Null);
}

async fn without_the_permission_to_watch_pushes_scan(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    const REFUSAL: &str = "User \"u\" cannot watch resource \"deployments\"";
    let proxy = ApiProxy::start(&ground, |request| async move {
        if request.uri.contains("watch=true") { Passage::Refuse(403, REFUSAL) } else { Passage::Forward }
    });
    let service = watching(&ground).through(&proxy.await).start_ready().await;
    let answer = push(&service, &PushMessage::now(&image, 1), "restarted").await;
    assert_eq!(answer["source"]["tier"], "scan", "{answer}");
    let is_told = |status: &Value| status["tiers"]["watch"]["error"].to_string().contains("cannot watch resource");
    let status = service.wait_for_status("why is told", is_told).await;
    assert_eq!(status["tiers"]["watch"]["live"], false);
}

/// Writes of the ConfigMap by each of these services.
fn writes(services: &[Service]) -> Vec<usize> {
    let writes = |service: &Service| {
        let calls = service.api_calls();
        count(&calls, "create", "configmaps") + count(&calls, "patch", "configmaps")
    };
    services.iter().map(writes).collect()
}

async fn document_has(ground: &Ground, image: &str, name: &str) {
    eventually("the ConfigMap follows", async || {
        let document = ground.cache_document().await?;
        (document["images"][image][0]["name"] == name).then_some(())
    })
    .await;
}

async fn one_replica_keeps_the_config_map(ground: Ground) {
    let first = ground.image("first");
    ground.create(&deployment(ground.namespace(), "first", &first)).await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(watching(&ground).start_ready().await);
    }
    document_has(&ground, &first, "first").await;
    for name in ["second", "third"] {
        let image = ground.image(name);
        ground.create(&deployment(ground.namespace(), name, &image)).await;
        document_has(&ground, &image, name).await;
    }
    let writes = writes(&replicas);
    assert_eq!(writes.iter().filter(|writes| **writes > 0).count(), 1, "one replica at a time: {writes:?}");
    assert_eq!(writes.iter().sum::<usize>(), 3, "one write for each change: {writes:?}");
    let document = ground.cache_document().await.unwrap();
    assert_eq!(document["scope"], json!({"namespaces": [ground.namespace()]}));
    assert!(document["as_of"].is_string(), "{document}");

    // A cold start: the document, and nothing else, is needed to be ready.
    let user = ground.fresh_user();
    let cold = ground.service().user(&user).arguments(["--namespaces", ground.namespace()]).start_ready().await;
    assert_eq!(names(&cold.lookup(&first).await), ["first"]);
}

async fn without_a_lease_the_config_map_is_kept_all_the_same(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let proxy = ApiProxy::start(&ground, |request| async move {
        let is_lease = request.uri.starts_with("/apis/coordination.k8s.io/");
        let refusal = "User \"u\" cannot get resource \"leases\"";
        if is_lease { Passage::Refuse(403, refusal) } else { Passage::Forward }
    });
    let service = watching(&ground).through(&proxy.await).start_ready().await;
    document_has(&ground, &image, "web").await;
    let says = |line: &Value| line["message"].to_string().contains("cannot get resource");
    eventually("the log says what is missing", async || service.log().iter().any(says).then_some(())).await;
}

/// A watch whose requests end after a second.
fn short_watch(config: &mut ServeConfig) {
    config.cache.watch = true;
    config.cache.watch_request = Duration::from_secs(1);
}

async fn a_watch_from_too_long_ago_begins_anew(ground: Ground) {
    let image = ground.image("web");
    let service = ground.service_in_process().configure(short_watch).start_ready().await;
    wait_until_live(&service).await;
    // Something happens elsewhere, and all that was before is forgotten: the next request asks from before that.
    ground.another_namespace("other").await;
    ground.embedded_kubernetes().compact();
    eventually("it lists again", async || (count(&service.api_calls(), "list", "deployments") > 1).then_some(())).await;
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    wait_for_workloads(&service, &image, &["web"]).await;
    wait_until_live(&service).await;
}

async fn the_watch_outlives_an_outage(ground: Ground) {
    use embedded_kubernetes::Outage;
    let service = ground.service_in_process().configure(short_watch).start_ready().await;
    // 403: an API server that has just started, and has not read its roles yet.
    for (number, code) in [503, 403, 401].into_iter().enumerate() {
        let image = ground.image(&format!("web-{number}"));
        wait_until_live(&service).await;
        ground.embedded_kubernetes().set_outage(Some(Outage::Status(code)));
        service.wait_for_status("the watch is broken", |status| status["tiers"]["watch"]["live"] == false).await;
        ground.embedded_kubernetes().set_outage(None);
        ground.create(&deployment(ground.namespace(), &format!("web-{number}"), &image)).await;
        wait_until_live(&service).await;
        wait_for_workloads(&service, &image, &[&format!("web-{number}")]).await;
        push(&service, &PushMessage::now(&image, 1), "restarted").await;
    }
}

/// A LIST of two pages, and a workload that is created after the first: it is in neither.
async fn what_came_during_the_list_is_known_before_it_counts(ground: Ground) {
    let image = ground.image("web");
    let (listing, mut lists) = watch::channel(false);
    let (release, released) = watch::channel(false);
    let wait = move |_: Method, uri: String| {
        let (listing, mut released) = (listing.clone(), released.clone());
        async move {
            if !uri.contains("watch=true") && uri.contains("deployments") && uri.contains("continue=") {
                listing.send_replace(true);
                let _ = released.wait_for(|released| *released).await;
            }
        }
    };
    for number in 0..501 {
        ground.create(&deployment(ground.namespace(), &format!("other-{number}"), &ground.image("other"))).await;
    }
    let service = ground.service_in_process().configure(|config| config.cache.watch = true).before_call(wait);
    let service = service.start().await;
    lists.wait_for(|lists| *lists).await.unwrap();
    // Before all others in the order of a LIST.
    ground.create(&deployment(ground.namespace(), "a-new-one", &image)).await;
    release.send_replace(true);
    eventually("the watch is live", async || {
        let is_live = service.status().await["tiers"]["watch"]["live"] == true;
        is_live.then_some(())
    })
    .await;
    assert_eq!(names(&service.lookup(&image).await), ["a-new-one"]);
    push(&service, &PushMessage::now(&image, 1), "restarted").await;
}

/// Something between us and the API server answers with the head of an answer, again and again.
async fn answers_that_never_go_on_are_no_sign_of_life(ground: Ground) {
    let image = ground.image("web");
    let hangs = Arc::new(AtomicBool::new(false));
    let rule = Arc::clone(&hangs);
    let proxy = ApiProxy::start(&ground, move |request| {
        let hangs = rule.load(Ordering::SeqCst) && request.uri.contains("watch=true");
        async move { if hangs { Passage::HeadAlone } else { Passage::Forward } }
    });
    let service = watching(&ground).through(&proxy.await).start_ready().await;
    wait_until_live(&service).await;
    hangs.store(true, Ordering::SeqCst);
    service.wait_for_status("the watch is not trusted", |status| status["tiers"]["watch"]["live"] == false).await;
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let answer = push(&service, &PushMessage::now(&image, 1), "restarted").await;
    assert_eq!(answer["source"]["tier"], "scan", "{answer}");
}
