//! Who wrote last: `managedFields`, which the decision to restart rests on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{every_kind, path_of};
use crate::support::ground::Ground;
use crate::support::kubernetes::{JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";

pub fn tests(suite: &mut Suite) {
    suite.on_both(an_annotation_belongs_to_whoever_changed_it_last);
    suite.on_both(our_patch_owns_just_what_it_wrote);
    suite.on_both(pausing_and_scaling_leave_the_owners);
    suite.on_both(a_managers_time_is_that_of_its_last_change);
    suite.on_both(a_client_that_names_no_manager_is_its_user_agent);
    suite.on_both(managed_fields_can_be_forgotten);
}

fn restart(restarted_at: &str, record: Option<&str>) -> Value {
    let mut annotations = json!({RESTARTED_AT: restarted_at});
    if let Some(record) = record {
        annotations[RECORD] = json!(record);
    }
    json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})
}

async fn patch(ground: &Ground, manifest: &Value, manager: &str, media_type: &str, patch: &Value) -> Value {
    let path = format!("{}?fieldManager={manager}", path_of(manifest));
    let answer = ground.ask("PATCH", &path, media_type, patch.to_string()).await;
    assert_eq!(answer.status, 200, "{manager}: {patch}: {}", answer.text());
    answer.json()
}

/// The managers of each annotation of the pod template, by its name.
fn owners(object: &Value) -> BTreeMap<String, Vec<String>> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let annotations = &entry["fieldsV1"]["f:spec"]["f:template"]["f:metadata"]["f:annotations"];
        for field in annotations.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if let Some(name) = field.strip_prefix("f:") {
                owners.entry(name.to_owned()).or_default().push(entry["manager"].as_str().unwrap().to_owned());
            }
        }
    }
    owners
}

fn owned_by(restarted_at: &str, record: &str) -> BTreeMap<String, Vec<String>> {
    let both = [(RESTARTED_AT, restarted_at), (RECORD, record)];
    both.into_iter().map(|(name, owner)| (name.to_owned(), vec![owner.to_owned()])).collect()
}

fn entry<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap_or_else(|| panic!("{object}"));
    entries.iter().find(|entry| entry["manager"] == manager).unwrap_or_else(|| panic!("no {manager}: {entries:?}"))
}

/// The rows of a workload's life, as `kubectl` of Kubernetes 1.36 writes its part of them.
async fn an_annotation_belongs_to_whoever_changed_it_last(ground: Ground) {
    for manifest in every_kind(&ground) {
        let kind = manifest["kind"].as_str().unwrap();
        let template = ground.create(&manifest).await["spec"]["template"].clone();
        let ours = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("one", Some("push 1"))).await;
        assert_eq!(owners(&ours), owned_by("pushroll", "pushroll"), "{kind}: our restart");

        let theirs = patch(&ground, &manifest, "kubectl-rollout", STRATEGIC_MERGE_PATCH, &restart("two", None)).await;
        assert_eq!(owners(&theirs), owned_by("kubectl-rollout", "pushroll"), "{kind}: kubectl rollout restart");

        let ours = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("three", Some("push 2"))).await;
        assert_eq!(owners(&ours), owned_by("pushroll", "pushroll"), "{kind}: our next restart");

        let mut before = template.clone();
        before["metadata"]["annotations"] = json!({RESTARTED_AT: "one", RECORD: "push 1"});
        let undo = json!([{"op": "replace", "path": "/spec/template", "value": before}]);
        let undone = patch(&ground, &manifest, "kubectl", JSON_PATCH, &undo).await;
        assert_eq!(owners(&undone), owned_by("kubectl", "kubectl"), "{kind}: kubectl rollout undo");

        let same = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("one", Some("push 1"))).await;
        assert_eq!(owners(&same), owned_by("kubectl", "kubectl"), "{kind}: nothing changed, nothing is ours");

        let ours = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("four", Some("push 1"))).await;
        assert_eq!(owners(&ours), owned_by("pushroll", "kubectl"), "{kind}: one of two changed");

        let undo = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        let undone = patch(&ground, &manifest, "kubectl", JSON_PATCH, &undo).await;
        assert_eq!(owners(&undone), BTreeMap::new(), "{kind}: undone to before any restart");
    }
}

async fn our_patch_owns_just_what_it_wrote(ground: Ground) {
    for manifest in every_kind(&ground) {
        let created = ground.create(&manifest).await;
        let creator = entry(&created, "test-creator").clone();
        let ours = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("one", Some("push 1"))).await;
        let mine = entry(&ours, "pushroll");
        let expected = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
            ".": {}, format!("f:{RESTARTED_AT}"): {}, format!("f:{RECORD}"): {}}}}}});
        assert_eq!(mine["fieldsV1"], expected, "the map itself is ours too: it was not there before");
        let head = [&mine["operation"], &mine["apiVersion"], &mine["fieldsType"]];
        assert_eq!(head, ["Update", "apps/v1", "FieldsV1"]);
        assert_eq!(mine.get("subresource"), None);
        assert_eq!(entry(&ours, "test-creator"), &creator, "what others wrote stays theirs, at their time");
        let creators_containers = &creator["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"];
        assert!(creators_containers[r#"k:{"name":"main"}"#]["f:image"].is_object(), "{creator}");
    }
}

async fn pausing_and_scaling_leave_the_owners(ground: Ground) {
    let [manifest, ..] = every_kind(&ground);
    ground.create(&manifest).await;
    patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("one", Some("push 1"))).await;
    for (manager, change) in [
        ("kubectl-rollout", json!({"spec": {"paused": true}})),
        ("kubectl-rollout", json!({"spec": {"paused": null}})),
        ("kubectl", json!({"spec": {"replicas": 2}})),
        ("kubectl-label", json!({"metadata": {"labels": {"a": "b"}}})),
        ("kubectl-annotate", json!({"metadata": {"annotations": {"a": "b"}}})),
    ] {
        let changed = patch(&ground, &manifest, manager, STRATEGIC_MERGE_PATCH, &change).await;
        assert_eq!(owners(&changed), owned_by("pushroll", "pushroll"), "{change}");
    }
    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}]);
    let changed = patch(&ground, &manifest, "kubectl-set", JSON_PATCH, &image).await;
    assert_eq!(owners(&changed), owned_by("pushroll", "pushroll"), "set image");
    let containers = &entry(&changed, "kubectl-set")["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"];
    assert_eq!(containers, &json!({r#"k:{"name":"main"}"#: {"f:image": {}}}));
}

async fn a_managers_time_is_that_of_its_last_change(ground: Ground) {
    let [manifest, ..] = every_kind(&ground);
    ground.create(&manifest).await;
    let first = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("one", Some("push 1"))).await;
    let time = entry(&first, "pushroll")["time"].clone();
    assert_eq!(time.as_str().map(str::len), Some("2026-11-20T09:16:40Z".len()), "to the second: {time}");
    let mut number = 0;
    // Someone else writes until the clock has moved on by a second.
    eventually("the clock moves on", async || {
        number += 1;
        let theirs = restart(&format!("theirs {number}"), None);
        let theirs = patch(&ground, &manifest, "kubectl-rollout", MERGE_PATCH, &theirs).await;
        assert_eq!(entry(&theirs, "pushroll")["time"], time, "ours does not move with theirs");
        (entry(&theirs, "kubectl-rollout")["time"] != time).then_some(())
    })
    .await;
    let record = json!({"spec": {"template": {"metadata": {"annotations": {RECORD: "push 1"}}}}});
    let same = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &record).await;
    assert_eq!(entry(&same, "pushroll")["time"], time, "nor when we change nothing");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let renewed = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &labelled).await;
    assert!(entry(&renewed, "pushroll")["time"].as_str() > time.as_str(), "but with whatever we change");
}

async fn a_client_that_names_no_manager_is_its_user_agent(ground: Ground) {
    let [manifest, ..] = every_kind(&ground);
    ground.create(&manifest).await;
    let headers = [("content-type", MERGE_PATCH), ("user-agent", "someone/1.2 (linux)")];
    let body = restart("one", None).to_string();
    let written = ground.ask_with("PATCH", &path_of(&manifest), &headers, body).await.json();
    assert_eq!(owners(&written)[RESTARTED_AT], ["someone"]);
}

async fn managed_fields_can_be_forgotten(ground: Ground) {
    let [manifest, ..] = every_kind(&ground);
    ground.create(&manifest).await;
    patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("one", Some("push 1"))).await;
    let forget = json!({"metadata": {"managedFields": [{}]}});
    let forgotten = patch(&ground, &manifest, "someone", MERGE_PATCH, &forget).await;
    assert_eq!(owners(&forgotten), BTreeMap::new());
    let ours = patch(&ground, &manifest, "pushroll", MERGE_PATCH, &restart("two", Some("push 2"))).await;
    assert_eq!(owners(&ours), BTreeMap::new(), "tracking does not begin again by itself");
}
