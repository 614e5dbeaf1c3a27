//! `pushroll rebuild --immutable`: a ConfigMap for each document, and the workloads that are pointed at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};

use crate::support::command::{Ran, run};
use crate::support::fixtures::{collection, config_map, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(each_document_has_an_immutable_config_map);
    suite.on_both(the_last_three_versions_are_kept);
    suite.on_both(a_volume_is_pointed_at_the_new_version);
    suite.on_both(what_a_workload_mounts_is_not_deleted);
    suite.on_both(a_workload_edited_meanwhile_is_looked_at_again);
    suite.on_both(what_cannot_be_pointed_is_found_first);
    suite.on_both(a_config_map_in_the_way_is_not_touched);
    suite.on_both(immutable_rebuilds_at_once_make_one_version);
    suite.on_both(a_dry_immutable_rebuild_writes_nothing);
}

const CACHE: &str = "deployment-image-cache";

async fn rebuild(ground: &Ground, more: &[&str]) -> Ran {
    let arguments = [&["rebuild", "--immutable", "--namespaces", ground.namespace()], more].concat();
    ground.run_as(&ground.fresh_user(), &arguments).await
}

/// Rebuilds, which must find a change; the name of the version.
async fn changed(ground: &Ground, more: &[&str]) -> String {
    let ran = rebuild(ground, more).await;
    let name = ran.stdout.strip_prefix("changed\n").unwrap_or_else(|| panic!("{ran:?}")).trim_end().to_owned();
    assert!(ran.code == 0 && name.starts_with(&format!("{CACHE}-")) && !name.contains('\n'), "{ran:?}");
    name
}

/// The versions that are there, sorted by name.
async fn versions(ground: &Ground) -> Vec<String> {
    let path = collection(&config_map(ground.namespace(), CACHE, "", ""));
    let list = ground.request("GET", &path, None).await.unwrap();
    let names = list["items"].as_array().unwrap().iter().map(|object| object["metadata"]["name"].as_str().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(CACHE)).map(str::to_owned).collect();
    names.sort();
    names
}

fn sorted<const N: usize>(names: [&String; N]) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    names.sort();
    names
}

fn web(ground: &Ground, name: &str) -> Value {
    deployment(ground.namespace(), name, &ground.image(name))
}

async fn each_document_has_an_immutable_config_map(ground: Ground) {
    let namespace = ground.namespace();
    ground.create(&web(&ground, "web")).await;
    let first = changed(&ground, &[]).await;
    let stored = ground.get(&config_map(namespace, &first, "", "")).await;
    assert_eq!(stored["immutable"], true, "{stored}");
    assert_eq!(stored["metadata"]["labels"], json!({"pushroll.dev/cache": CACHE}));
    let document: Value = serde_json::from_str(stored["data"]["cache.json"].as_str().unwrap()).unwrap();
    assert_eq!(document["images"], json!({ground.image("web"): [{"name": "web", "namespace": namespace}]}));
    assert!(document["as_of"].is_string() && document["scope"] == json!({"namespaces": [namespace]}), "{document}");

    let user = ground.fresh_user();
    let again = ["rebuild", "--immutable", "--namespaces", namespace];
    let ran = ground.run_as(&user, &again).await;
    assert_eq!((ran.code, ran.stdout), (0, format!("unchanged\n{first}\n")), "{}", ran.stderr);
    let calls = ground.api_calls(&user);
    assert!(calls.iter().all(|call| call.verb == "list"), "{calls:?}");
    let ran = rebuild(&ground, &["-o", "name"]).await;
    assert_eq!(ran.stdout, format!("{first}\n"), "{ran:?}");
    assert_eq!(versions(&ground).await, sorted([&first]));

    ground.create(&web(&ground, "other")).await;
    let ran = rebuild(&ground, &["-o", "json"]).await.json();
    let second = ran["name"].as_str().unwrap().to_owned();
    let expected = json!({"result": "changed", "config_map": format!("{namespace}/{second}"), "images": 2,
        "workloads": 2, "name": second, "volumes": [], "deleted": []});
    assert_eq!(ran, expected);
    assert_eq!(versions(&ground).await, sorted([&first, &second]));
    // Another scope is another document: what says that it has seen one namespace must not stand for two.
    let elsewhere = ground.another_namespace("elsewhere").await;
    let both = format!("{namespace},{elsewhere}");
    let ran = ground.run_as(&user, &["rebuild", "--immutable", "--namespaces", &both, "-o", "name"]).await;
    assert!(ran.code == 0 && ![first, second].contains(&ran.stdout.trim_end().to_owned()), "{ran:?}");
}

async fn the_last_three_versions_are_kept(ground: Ground) {
    ground.create(&web(&ground, "a")).await;
    let a = changed(&ground, &[]).await;
    ground.create(&web(&ground, "b")).await;
    let b = changed(&ground, &[]).await;
    ground.create(&web(&ground, "c")).await;
    let c = changed(&ground, &[]).await;
    assert_eq!(versions(&ground).await, sorted([&a, &b, &c]));
    // What is not labelled as ours, and what is another's, is not counted.
    let by_hand = config_map(ground.namespace(), &format!("{CACHE}-0123456789"), "key", "by hand");
    ground.create(&by_hand).await;
    ground.create(&web(&ground, "d")).await;
    let ran = rebuild(&ground, &[]).await;
    assert!(ran.stderr.contains(&format!("{a}: deleted")), "{ran:?}");
    let d = ran.stdout.lines().nth(1).unwrap().to_owned();
    ground.delete(&by_hand).await;
    assert_eq!(versions(&ground).await, sorted([&b, &c, &d]));

    // The cluster is again as it was at b, which is current again: the oldest by creation, and the last to go.
    for name in ["c", "d"] {
        ground.delete(&web(&ground, name)).await;
    }
    assert_eq!(changed(&ground, &[]).await, b);
    assert_eq!(rebuild(&ground, &[]).await.stdout, format!("unchanged\n{b}\n"));
    ground.create(&web(&ground, "e")).await;
    let e = changed(&ground, &[]).await;
    assert_eq!(versions(&ground).await, sorted([&b, &d, &e]));
}

/// A workload with the cache in a volume and in a projected one, among others.
fn reader(mut workload: Value) -> Value {
    workload["spec"]["template"]["spec"]["volumes"] = json!([
        {"name": "scratch", "emptyDir": {}},
        {"name": "cache", "configMap": {"name": CACHE, "optional": true, "defaultMode": 288,
            "items": [{"key": "cache.json", "path": "images.json"}]}},
        {"name": "settings", "configMap": {"name": format!("{CACHE}-settings"), "optional": true, "defaultMode": 420}},
        {"name": "both", "projected": {"defaultMode": 420, "sources": [
            {"configMap": {"name": "other", "optional": true}},
            {"configMap": {"name": format!("{CACHE}-0123456789"), "optional": true}},
        ]}},
    ]);
    workload
}

/// The volumes of [`reader`] when they are pointed at `version`.
fn pointed(version: &str) -> Value {
    let mut volumes = reader(json!({}))["spec"]["template"]["spec"]["volumes"].clone();
    volumes[1]["configMap"]["name"] = json!(version);
    volumes[3]["projected"]["sources"][1]["configMap"]["name"] = json!(version);
    volumes
}

async fn volumes(ground: &Ground, workload: &Value) -> Value {
    ground.get(workload).await["spec"]["template"]["spec"]["volumes"].clone()
}

async fn a_volume_is_pointed_at_the_new_version(ground: Ground) {
    let namespace = ground.namespace();
    let readers = [
        (reader(web(&ground, "reader")), format!("{namespace}/deployment/reader")),
        (reader(stateful_set(namespace, "reader", &ground.image("set"))), format!("{namespace}/statefulset/reader")),
    ];
    for (reader, _) in &readers {
        ground.create(reader).await;
    }
    let both = ["--set-volume", &*readers[0].1, "--set-volume", &*readers[1].1];
    let ran = rebuild(&ground, &both).await;
    let first = ran.stdout.lines().nth(1).unwrap_or_else(|| panic!("{ran:?}")).to_owned();
    for (reader, name) in &readers {
        assert!(ran.stderr.contains(&format!("{name}: pointed at it (cache, both)")), "{ran:?}");
        assert_eq!(volumes(&ground, reader).await, pointed(&first), "and nothing else of them");
        assert_eq!(ground.generation(reader).await, 2, "it rolls");
    }
    let user = ground.fresh_user();
    let again = [&["rebuild", "--immutable", "--namespaces", namespace, "-o", "json"], &both[..]].concat();
    let ran = ground.run_as(&user, &again).await.json();
    assert_eq!((&ran["result"], &ran["volumes"][0]["changed"]), (&json!("unchanged"), &json!([])), "{ran}");
    let calls = ground.api_calls(&user);
    assert!(calls.iter().all(|call| ["get", "list"].contains(&call.verb.as_str())), "{calls:?}");

    // What was left undone is done though nothing has changed since.
    ground.create(&web(&ground, "other")).await;
    let second = changed(&ground, &[]).await;
    let ran = rebuild(&ground, &["--set-volume", &readers[0].1]).await;
    assert_eq!(ran.stdout, format!("unchanged\n{second}\n"), "{ran:?}");
    assert_eq!(volumes(&ground, &readers[0].0).await, pointed(&second));
    assert_eq!(volumes(&ground, &readers[1].0).await, pointed(&first));
}

async fn what_a_workload_mounts_is_not_deleted(ground: Ground) {
    let reader = reader(web(&ground, "reader"));
    ground.create(&reader).await;
    let name = format!("{}/deployment/reader", ground.namespace());
    let set_volume = ["--set-volume", &*name];
    let first = changed(&ground, &set_volume).await;
    let mut names = Vec::new();
    for workload in ["b", "c"] {
        ground.create(&web(&ground, workload)).await;
        names.push(changed(&ground, &[]).await);
    }
    ground.create(&web(&ground, "d")).await;
    let fourth = changed(&ground, &set_volume).await;
    assert_eq!(versions(&ground).await, sorted([&first, &names[0], &names[1], &fourth]), "pods still roll from it");
    // The rollout is another matter by the next time.
    eventually("its last pod is gone, and so is the version", async || {
        let ran = rebuild(&ground, &set_volume).await;
        assert_eq!(ran.stdout, format!("unchanged\n{fourth}\n"), "{ran:?}");
        ran.stderr.contains(&format!("{first}: deleted")).then_some(())
    })
    .await;
    assert_eq!(versions(&ground).await, sorted([&names[0], &names[1], &fourth]));
}

async fn a_workload_edited_meanwhile_is_looked_at_again(ground: Ground) {
    let reader = reader(web(&ground, "reader"));
    ground.create(&reader).await;
    let (own, edits, manifest) = (ground.clone(), Arc::new(AtomicUsize::new(0)), reader.clone());
    let edited = Arc::clone(&edits);
    // Another volume comes in, and so does a source beside ours.
    let proxy = ApiProxy::start(&ground, move |request| {
        let is_first = request.method == Method::PATCH && edits.fetch_add(1, Ordering::Relaxed) == 0;
        let (own, manifest) = (own.clone(), manifest.clone());
        async move {
            if is_first {
                let mut volumes = reader_volumes();
                add_to(&mut volumes);
                let patch = json!({"spec": {"template": {"spec": {"volumes": volumes}}}});
                own.patch(&manifest, "somebody", patch).await;
            }
            Passage::Forward
        }
    });
    let proxy = proxy.await;
    let name = format!("{}/deployment/reader", ground.namespace());
    let (kubeconfig, namespace) = (proxy.kubeconfig().to_str().unwrap(), ground.namespace());
    let arguments = ["rebuild", "--immutable", "--set-volume", &name, "--namespaces", namespace, "-n", namespace];
    let ran = run(&[&arguments[..], &["--kubeconfig", kubeconfig]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(edited.load(Ordering::Relaxed) >= 2, "the first is refused");
    let mut expected = pointed(ran.stdout.lines().nth(1).unwrap());
    add_to(expected.as_array_mut().unwrap());
    assert_eq!(volumes(&ground, &reader).await, expected);
}

/// What somebody else changes.
fn add_to(volumes: &mut Vec<Value>) {
    let sources = volumes[3]["projected"]["sources"].as_array_mut().unwrap();
    sources.insert(0, json!({"configMap": {"name": "young", "optional": true}}));
    volumes.insert(0, json!({"name": "first", "emptyDir": {}}));
}

fn reader_volumes() -> Vec<Value> {
    reader(json!({}))["spec"]["template"]["spec"]["volumes"].as_array().unwrap().clone()
}

async fn what_cannot_be_pointed_is_found_first(ground: Ground) {
    let namespace = ground.namespace();
    let elsewhere = ground.another_namespace("elsewhere").await;
    let mut without = reader(web(&ground, "without"));
    without["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap().retain(|volume| volume["name"] != "cache");
    without["spec"]["template"]["spec"]["volumes"][2]["projected"]["sources"].as_array_mut().unwrap().pop();
    ground.create(&without).await;
    ground.create(&web(&ground, "bare")).await;
    let user = ground.fresh_user();
    for (name, says) in [
        (
            format!("{namespace}/deployment/without"),
            format!(
                "without has no volume of the ConfigMap {CACHE} or of one of its versions ({CACHE}-HASH); it has: scratch \
                 (emptyDir), settings (configMap {CACHE}-settings), both (projected other)"
            ),
        ),
        (format!("{namespace}/deployment/bare"), "it has: no volumes".to_owned()),
        (format!("{namespace}/deployment/nobody"), "not found".to_owned()),
        (format!("{elsewhere}/deployment/web"), "own namespace alone".to_owned()),
    ] {
        let arguments = ["rebuild", "--immutable", "--namespaces", namespace, "--set-volume", &name];
        let ran = ground.run_as(&user, &arguments).await;
        assert!(ran.failed_with_one_sentence().contains(&says), "{name}: {ran:?}");
    }
    assert!(ground.api_calls(&user).iter().all(|call| call.verb == "get"), "nothing was written, nor even scanned");
    let long = "x".repeat(64);
    let ran = rebuild(&ground, &["--cache-configmap", &long]).await;
    assert!(ran.failed_with_one_sentence().contains("at most 63 characters"), "{ran:?}");
}

async fn a_config_map_in_the_way_is_not_touched(ground: Ground) {
    let namespace = ground.namespace();
    ground.create(&web(&ground, "web")).await;
    let name = changed(&ground, &[]).await;
    let version = config_map(namespace, &name, "cache.json", r#"{"images": {}}"#);
    for labels in [json!({}), json!({"pushroll.dev/cache": CACHE})] {
        ground.delete(&version).await;
        let mut in_the_way = version.clone();
        in_the_way["metadata"]["labels"] = labels;
        ground.create(&in_the_way).await;
        let ran = rebuild(&ground, &[]).await;
        assert!(ran.failed_with_one_sentence().contains("is not the version that its name says"), "{ran:?}");
        assert_eq!(ground.get(&version).await["data"], version["data"]);
    }
}

async fn immutable_rebuilds_at_once_make_one_version(ground: Ground) {
    ground.create(&web(&ground, "web")).await;
    let ran = tokio::join!(rebuild(&ground, &[]), rebuild(&ground, &[]), rebuild(&ground, &[]));
    let mut said = [&ran.0, &ran.1, &ran.2].map(|ran| ran.stdout.split_once('\n').unwrap_or_else(|| panic!("{ran:?}")));
    said.sort_unstable();
    let name = said[0].1;
    assert_eq!(said, [("changed", name), ("unchanged", name), ("unchanged", name)]);
    assert_eq!(versions(&ground).await, [name.trim_end()]);
}

async fn a_dry_immutable_rebuild_writes_nothing(ground: Ground) {
    let namespace = ground.namespace();
    let reader = reader(web(&ground, "reader"));
    ground.create(&reader).await;
    let name = format!("{namespace}/deployment/reader");
    let user = ground.fresh_user();
    let dry = ["rebuild", "--immutable", "--dry-run", "--namespaces", namespace, "--set-volume", &name];
    let ran = ground.run_as(&user, &dry).await;
    assert!(ran.code == 0 && ran.stdout.starts_with(&format!("changed\n{CACHE}-")), "{ran:?}");
    assert!(ran.stderr.contains("nothing was written") && ran.stderr.contains("would be pointed"), "{ran:?}");
    let calls = ground.api_calls(&user);
    assert!(calls.iter().all(|call| ["get", "list"].contains(&call.verb.as_str())), "{calls:?}");
    assert_eq!(versions(&ground).await, [""; 0]);
    let name = ran.stdout.lines().nth(1).unwrap();
    assert_eq!(changed(&ground, &[]).await, name, "the name that it would have had");
}
