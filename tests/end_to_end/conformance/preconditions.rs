//! Preconditions: a write that was decided on another object than the one it meets.

use serde_json::{Value, json};

use super::{assert_refused, every_kind, merge_patch, path_of, template_annotation};
use crate::support::fixtures::config_map;
use crate::support::ground::Ground;
use crate::support::http::Answer;
use crate::support::kubernetes::JSON;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const OTHER_UID: &str = "11111111-1111-4111-8111-111111111111";
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";
const QUALIFIED: [&str; 4] = [
    "deployments.apps \"deployment\"",
    "statefulsets.apps \"statefulset\"",
    "daemonsets.apps \"daemonset\"",
    "configmaps \"configmap\"",
];

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_patch_of_a_stale_version_is_a_conflict);
    suite.on_both(a_patch_of_the_current_version_is_written);
    suite.on_both(a_put_of_a_stale_version_is_a_conflict);
    suite.on_both(another_uid_is_refused);
    suite.on_both(an_object_made_anew_is_a_conflict);
    suite.on_both(a_delete_of_another_object_is_a_conflict);
    suite.on_both(a_lease_is_never_replaced_blindly);
}

fn every_object(ground: &Ground) -> impl Iterator<Item = (Value, &'static str)> {
    let cache = config_map(ground.namespace(), "configmap", "key", "value");
    every_kind(ground).into_iter().chain([cache]).zip(QUALIFIED)
}

/// A change that each of the kinds can take: an annotation of its own.
fn annotated(value: &str) -> Value {
    json!({"metadata": {"annotations": {"example.com/note": value}}})
}

async fn put(ground: &Ground, object: &Value, manifest: &Value) -> Answer {
    ground.ask("PUT", &path_of(manifest), JSON, object.to_string()).await
}

async fn a_patch_of_a_stale_version_is_a_conflict(ground: Ground) {
    for (manifest, qualified) in every_object(&ground) {
        let stale = ground.create(&manifest).await["metadata"]["resourceVersion"].clone();
        merge_patch(&ground, &manifest, annotated("first")).await;
        let mut patch = annotated("second");
        patch["metadata"]["resourceVersion"] = stale;
        let answer = merge_patch(&ground, &manifest, patch).await;
        let message = format!("Operation cannot be fulfilled on {qualified}: {MODIFIED}");
        assert_refused(qualified, &answer, 409, "Conflict", &message);
        assert_eq!(ground.get(&manifest).await["metadata"]["annotations"]["example.com/note"], "first", "{qualified}");
    }
    let (manifest, qualified) = every_object(&ground).next().unwrap();
    let answer = merge_patch(&ground, &manifest, json!({"metadata": {"resourceVersion": "abc"}})).await;
    assert_refused(qualified, &answer, 500, "", r#"strconv.ParseUint: parsing "abc": invalid syntax"#);
}

async fn a_patch_of_the_current_version_is_written(ground: Ground) {
    for (manifest, qualified) in every_object(&ground) {
        ground.create(&manifest).await;
        // A controller may write between our two requests.
        let written = eventually("a patch of the version that was just read", async || {
            let metadata = ground.get(&manifest).await["metadata"].clone();
            let mut patch = annotated("written");
            patch["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
            patch["metadata"]["uid"] = metadata["uid"].clone();
            let answer = merge_patch(&ground, &manifest, patch).await;
            answer.status.is_success().then(|| (metadata["resourceVersion"].clone(), answer.json()))
        });
        let (before, written) = written.await;
        assert_eq!(written["metadata"]["annotations"]["example.com/note"], "written", "{qualified}");
        assert_ne!(written["metadata"]["resourceVersion"], before, "{qualified}");
    }
}

async fn a_put_of_a_stale_version_is_a_conflict(ground: Ground) {
    for (manifest, qualified) in every_object(&ground) {
        let stale = ground.create(&manifest).await;
        merge_patch(&ground, &manifest, annotated("first")).await;
        let answer = put(&ground, &stale, &manifest).await;
        let message = format!("Operation cannot be fulfilled on {qualified}: {MODIFIED}");
        assert_refused(qualified, &answer, 409, "Conflict", &message);

        let mut unconditional = manifest.clone();
        unconditional["metadata"]["annotations"] = json!({"example.com/note": "second"});
        let answer = put(&ground, &unconditional, &manifest).await;
        assert_eq!(answer.status, 200, "{qualified}: without a version: {}", answer.text());
        assert_eq!(answer.json()["metadata"]["annotations"]["example.com/note"], "second", "{qualified}");
    }
}

async fn another_uid_is_refused(ground: Ground) {
    for (manifest, qualified) in every_object(&ground) {
        let uid = ground.create(&manifest).await["metadata"]["uid"].as_str().unwrap().to_owned();
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let kind = manifest["kind"].as_str().unwrap();
        let qualified_kind = if kind == "ConfigMap" { kind.to_owned() } else { format!("{kind}.apps") };

        let answer = merge_patch(&ground, &manifest, json!({"metadata": {"uid": OTHER_UID}})).await;
        let message = format!(
            "{qualified_kind} \"{name}\" is invalid: metadata.uid: Invalid value: \"{OTHER_UID}\": field is immutable"
        );
        assert_refused(qualified, &answer, 422, "Invalid", &message);

        let mut other = manifest.clone();
        other["metadata"]["uid"] = json!(OTHER_UID);
        let answer = put(&ground, &other, &manifest).await;
        let plural = qualified.split(['.', ' ']).next().unwrap();
        let message = format!(
            "Operation cannot be fulfilled on {qualified}: StorageError: invalid object, Code: 4, Key: \
             /registry/{plural}/{}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
             precondition: {OTHER_UID}, UID in object meta: {uid}",
            ground.namespace()
        );
        assert_refused(qualified, &answer, 409, "Conflict", &message);
    }
}

/// Deleted and created again between our GET and our PATCH, which names version and uid: a conflict, not an
/// invalid object, so that it is looked at again.
async fn an_object_made_anew_is_a_conflict(ground: Ground) {
    for (manifest, qualified) in every_object(&ground) {
        let metadata = ground.create(&manifest).await["metadata"].clone();
        ground.delete(&manifest).await;
        eventually("the object is gone", async || {
            (ground.ask("GET", &path_of(&manifest), "", "").await.status == 404).then_some(())
        })
        .await;
        ground.create(&manifest).await;
        let mut patch = annotated("late");
        patch["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
        patch["metadata"]["uid"] = metadata["uid"].clone();
        let answer = merge_patch(&ground, &manifest, patch).await;
        let message = format!("Operation cannot be fulfilled on {qualified}: {MODIFIED}");
        assert_refused(qualified, &answer, 409, "Conflict", &message);
    }
}

async fn a_delete_of_another_object_is_a_conflict(ground: Ground) {
    let (manifest, _) = every_object(&ground).next().unwrap();
    let uid = ground.create(&manifest).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let options = json!({"preconditions": {"uid": OTHER_UID}}).to_string();
    let answer = ground.ask("DELETE", &path_of(&manifest), JSON, options).await;
    let message = format!(
        "Operation cannot be fulfilled on Deployment.apps \"deployment\": the UID in the precondition ({OTHER_UID}) does \
         not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    assert_refused("delete", &answer, 409, "Conflict", &message);
    merge_patch(&ground, &manifest, template_annotation("example.com/note", "still there")).await;
    assert_eq!(ground.generation(&manifest).await, 2);
}

async fn a_lease_is_never_replaced_blindly(ground: Ground) {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/lease", ground.namespace());
    let lease = |holder: &str| json!({"metadata": {"name": "lease"}, "spec": {"holderIdentity": holder}});
    let answer = ground.ask("PUT", &path, JSON, lease("one").to_string()).await;
    assert_eq!(answer.status, 201, "a PUT of what is not there: {}", answer.text());
    let created = answer.json();

    let answer = ground.ask("PUT", &path, JSON, lease("two").to_string()).await;
    let message = "leases.coordination.k8s.io \"lease\" is invalid: metadata.resourceVersion: Invalid value: 0: must be \
                   specified for an update";
    assert_refused("without a version", &answer, 422, "Invalid", message);

    let mut renewed = lease("two");
    renewed["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
    let answer = ground.ask("PUT", &path, JSON, renewed.to_string()).await;
    assert_eq!(answer.json()["spec"]["holderIdentity"], "two", "{}", answer.text());
    let answer = ground.ask("PUT", &path, JSON, renewed.to_string()).await;
    let message = format!("Operation cannot be fulfilled on leases.coordination.k8s.io \"lease\": {MODIFIED}");
    assert_refused("taken meanwhile", &answer, 409, "Conflict", &message);
}
