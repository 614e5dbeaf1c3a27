//! Merge, strategic merge and JSON patches, dry runs, and patches that change nothing.

use serde_json::{Value, json};

use super::{assert_refused, every_kind, merge_patch, path_of, template_annotation};
use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::http::Answer;
use crate::support::kubernetes::{JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_null_in_a_merge_patch_deletes);
    suite.on_both(an_identical_patch_writes_nothing);
    suite.on_both(a_merge_patch_replaces_lists);
    suite.on_both(a_strategic_merge_patch_merges_lists_by_name);
    suite.on_both(a_json_patch_is_applied_whole_or_not_at_all);
    suite.on_both(a_dry_run_writes_nothing);
    suite.on_both(unknown_fields_are_dropped);
}

fn web(ground: &Ground) -> Value {
    let mut web = deployment(ground.namespace(), "web", &ground.image("web"));
    let sidecar = json!({"name": "sidecar", "image": "sidecar:1", "imagePullPolicy": "Always", "args": ["a", "b"]});
    web["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    web
}

async fn strategic_merge(ground: &Ground, manifest: &Value, patch: Value) -> Answer {
    ground.ask("PATCH", &path_of(manifest), STRATEGIC_MERGE_PATCH, patch.to_string()).await
}

/// Name, image and arguments of each container.
fn containers(answer: &Answer) -> Value {
    let containers = answer.json()["spec"]["template"]["spec"]["containers"].clone();
    let of = |container: &Value| json!([container["name"], container["image"], container["args"]]);
    containers.as_array().unwrap_or_else(|| panic!("{}", answer.text())).iter().map(of).collect()
}

async fn a_null_in_a_merge_patch_deletes(ground: Ground) {
    let mut cache = config_map(ground.namespace(), "cache", "kept", "1");
    cache["data"]["gone"] = json!("2");
    cache["metadata"]["annotations"] = json!({"example.com/gone": "x"});
    ground.create(&cache).await;
    let patch = json!({"metadata": {"annotations": null}, "data": {"gone": null, "new": "3", "never": null}});
    let written = merge_patch(&ground, &cache, patch).await.json();
    assert_eq!(written["data"], json!({"kept": "1", "new": "3"}));
    assert_eq!(written["metadata"].get("annotations"), None);
    let written = merge_patch(&ground, &cache, json!({"data": null})).await.json();
    assert_eq!(written.get("data"), None);

    let web = web(&ground);
    ground.create(&web).await;
    let annotations = |answer: &Answer| answer.json()["spec"]["template"]["metadata"]["annotations"].clone();
    merge_patch(&ground, &web, template_annotation("example.com/a", "1")).await;
    let answer = merge_patch(&ground, &web, template_annotation("example.com/b", "2")).await;
    assert_eq!(annotations(&answer), json!({"example.com/a": "1", "example.com/b": "2"}));
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"example.com/a": null}}}}});
    let answer = merge_patch(&ground, &web, patch).await;
    assert_eq!(annotations(&answer), json!({"example.com/b": "2"}));
}

async fn an_identical_patch_writes_nothing(ground: Ground) {
    let cache = config_map(ground.namespace(), "cache", "key", "value");
    let version = ground.create(&cache).await["metadata"]["resourceVersion"].clone();
    let data = json!({"data": {"key": "value"}});
    let again = merge_patch(&ground, &cache, data.clone()).await.json();
    assert_eq!(again["metadata"]["resourceVersion"], version, "a merge patch");
    let again = strategic_merge(&ground, &cache, data).await.json();
    assert_eq!(again["metadata"]["resourceVersion"], version, "a strategic merge patch");
    let again = ground.ask("PUT", &path_of(&cache), JSON, cache.to_string()).await.json();
    assert_eq!(again["metadata"]["resourceVersion"], version, "a PUT");

    for manifest in every_kind(&ground) {
        let kind = manifest["kind"].as_str().unwrap();
        ground.create(&manifest).await;
        let restart = template_annotation("kubectl.kubernetes.io/restartedAt", "2026-11-20T09:16:40Z");
        ground.patch(&manifest, "first", restart.clone()).await;
        // A controller may write between our two requests.
        eventually("a patch that leaves the version", async || {
            let before = ground.get(&manifest).await["metadata"].clone();
            let after = ground.patch(&manifest, "second", restart.clone()).await["metadata"].clone();
            assert_eq!(after["generation"], 2, "{kind}");
            let managers = after["managedFields"].as_array().unwrap().iter().map(|entry| &entry["manager"]);
            assert!(managers.clone().all(|manager| manager != "second"), "{kind}: {after}");
            (after["resourceVersion"] == before["resourceVersion"]).then_some(())
        })
        .await;
    }
}

async fn a_merge_patch_replaces_lists(ground: Ground) {
    let web = web(&ground);
    ground.create(&web).await;
    let only = json!([{"name": "other", "image": "other:1"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": only}}}});
    let answer = merge_patch(&ground, &web, patch).await;
    assert_eq!(containers(&answer), json!([["other", "other:1", null]]));
}

async fn a_strategic_merge_patch_merges_lists_by_name(ground: Ground) {
    let web = web(&ground);
    ground.create(&web).await;
    let image = ground.image("web");
    let containers_patch = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let cases = [
        (
            json!([{"name": "sidecar", "image": "sidecar:2"}]),
            json!([["main", image, null], ["sidecar", "sidecar:2", ["a", "b"]]]),
        ),
        (json!([{"name": "sidecar", "args": ["c"]}]), json!([["main", image, null], ["sidecar", "sidecar:2", ["c"]]])),
        (json!([{"name": "sidecar", "args": null}]), json!([["main", image, null], ["sidecar", "sidecar:2", null]])),
        (json!([{"name": "sidecar", "$patch": "delete"}]), json!([["main", image, null]])),
        (json!([{"$patch": "replace"}, {"name": "new", "image": "new:1"}]), json!([["new", "new:1", null]])),
    ];
    for (patch, expected) in cases {
        let answer = strategic_merge(&ground, &web, containers_patch(patch.clone())).await;
        assert_eq!(containers(&answer), expected, "{patch}");
    }
    let recreate = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let written = strategic_merge(&ground, &web, recreate).await.json();
    assert_eq!(written["spec"]["strategy"], json!({"type": "Recreate"}));
}

async fn a_json_patch_is_applied_whole_or_not_at_all(ground: Ground) {
    let cache = config_map(ground.namespace(), "cache", "key", "1");
    ground.create(&cache).await;
    let patch = |operations: Value| (path_of(&cache), operations.to_string());
    let (path, operations) = patch(json!([
        {"op": "test", "path": "/data/key", "value": "1"},
        {"op": "replace", "path": "/data/key", "value": "2"},
        {"op": "add", "path": "/data/new", "value": "3"},
    ]));
    let answer = ground.ask("PATCH", &path, JSON_PATCH, operations).await;
    assert_eq!(answer.json()["data"], json!({"key": "2", "new": "3"}), "{}", answer.text());
    for operations in [
        json!([{"op": "replace", "path": "/data/key", "value": "4"}, {"op": "test", "path": "/data/new", "value": "9"}]),
        json!([{"op": "replace", "path": "/data/key", "value": "4"}, {"op": "remove", "path": "/data/absent"}]),
    ] {
        let (path, operations) = patch(operations);
        let answer = ground.ask("PATCH", &path, JSON_PATCH, operations.clone()).await;
        let message = "the server rejected our request due to an error in our request";
        assert_refused(&operations, &answer, 422, "Invalid", message);
    }
    assert_eq!(ground.get(&cache).await["data"]["key"], "2");
}

async fn a_dry_run_writes_nothing(ground: Ground) {
    let cache = config_map(ground.namespace(), "cache", "key", "1");
    let path = format!("{}?dryRun=All", path_of(&cache).trim_end_matches("/cache"));
    assert_eq!(ground.ask("POST", &path, JSON, cache.to_string()).await.status, 201);
    assert_eq!(ground.ask("GET", &path_of(&cache), "", "").await.status, 404);
    ground.create(&cache).await;
    let path = format!("{}?dryRun=All", path_of(&cache));
    let answer = ground.ask("PATCH", &path, MERGE_PATCH, json!({"data": {"key": "2"}}).to_string()).await;
    assert_eq!(answer.json()["data"]["key"], "2", "{}", answer.text());
    assert_eq!(ground.ask("DELETE", &path, "", "").await.status, 200);
    assert_eq!(ground.get(&cache).await["data"]["key"], "1");
}

async fn unknown_fields_are_dropped(ground: Ground) {
    let web = web(&ground);
    ground.create(&web).await;
    let patch = json!({"spec": {"nonsense": 1}, "metadata": {"labels": {"a": "b"}}, "status": {"replicas": 77}});
    let written = merge_patch(&ground, &web, patch).await.json();
    assert_eq!(written["spec"].get("nonsense"), None);
    assert_eq!(written["metadata"]["labels"], json!({"a": "b"}));
    assert_ne!(written["status"]["replicas"], 77);
    assert_eq!(written["metadata"]["generation"], 1);
}
