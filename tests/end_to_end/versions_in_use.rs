//! `pushroll rebuild --immutable` deletes no version that something mounts, and none where it may not look.

use serde_json::{Value, json};

use crate::freshness::allow;
use crate::support::command::Ran;
use crate::support::fixtures::{deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_version_that_something_mounts_is_never_deleted);
    suite.on_control_plane(a_version_that_a_job_or_a_cron_job_mounts_is_never_deleted);
    suite.on_control_plane(where_it_may_not_look_it_deletes_nothing_and_says_so);
}

async fn rebuild(ground: &Ground, user: &str) -> Ran {
    let ran = ground.run_as(user, &["rebuild", "--immutable", "--namespaces", ground.namespace(), "-o", "json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// A new version; its name.
async fn version(ground: &Ground, number: usize) -> String {
    let image = ground.image(&format!("image-{number}"));
    ground.create(&deployment(ground.namespace(), &format!("new-{number}"), &image)).await;
    rebuild(ground, &ground.fresh_user()).await.json()["name"].as_str().unwrap().to_owned()
}

async fn exists(ground: &Ground, name: &str) -> bool {
    let path = format!("/api/v1/namespaces/{}/configmaps/{name}", ground.namespace());
    ground.request("GET", &path, None).await.is_ok()
}

fn pod_spec(ground: &Ground, volume: Value) -> Value {
    let container = json!({"name": "main", "image": ground.image("reader"), "imagePullPolicy": "Always"});
    json!({"restartPolicy": "Never", "volumes": [volume], "containers": [container]})
}

async fn a_version_that_something_mounts_is_never_deleted(ground: Ground) {
    let namespace = ground.namespace();
    let mut names = vec![version(&ground, 0).await];
    let mut reader = deployment(namespace, "reader", &ground.image("reader"));
    reader["spec"]["replicas"] = json!(0);
    reader["spec"]["template"]["spec"]["volumes"] = json!([{"name": "cache", "configMap": {"name": names[0]}}]);
    ground.create(&reader).await;
    names.push(version(&ground, 1).await);
    let mut db = stateful_set(namespace, "db", &ground.image("reader"));
    db["spec"]["replicas"] = json!(0);
    let sources = json!([{"configMap": {"name": names[1]}}]);
    db["spec"]["template"]["spec"]["volumes"] = json!([{"name": "all", "projected": {"sources": sources}}]);
    ground.create(&db).await;
    for number in 2..7 {
        names.push(version(&ground, number).await);
    }
    let mut kept = Vec::new();
    for name in &names {
        kept.push(exists(&ground, name).await);
    }
    assert_eq!(kept, [true, true, false, false, true, true, true], "two are mounted, three are the last");
    ground.delete(&reader).await;
    let ran = rebuild(&ground, &ground.fresh_user()).await;
    assert!(!exists(&ground, &names[0]).await && exists(&ground, &names[1]).await, "{ran:?}");
}

async fn a_version_that_a_job_or_a_cron_job_mounts_is_never_deleted(ground: Ground) {
    let namespace = ground.namespace();
    let mut names = Vec::new();
    for number in 0..3 {
        names.push(version(&ground, number).await);
    }
    let volume = |name: &str| json!({"name": "cache", "configMap": {"name": name}});
    let job = json!({"suspend": true, "template": {"spec": pod_spec(&ground, volume(&names[0]))}});
    let cron_job = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {
        "spec": pod_spec(&ground, volume(&names[1])),
    }}}});
    for (path, name, spec) in [
        (format!("/apis/batch/v1/namespaces/{namespace}/jobs"), "once", job),
        (format!("/apis/batch/v1/namespaces/{namespace}/cronjobs"), "yearly", cron_job),
        (format!("/api/v1/namespaces/{namespace}/pods"), "bare", pod_spec(&ground, volume(&names[2]))),
    ] {
        ground.request("POST", &path, Some(json!({"metadata": {"name": name}, "spec": spec}))).await.unwrap();
    }
    for number in 3..8 {
        names.push(version(&ground, number).await);
    }
    for name in &names[..2] {
        assert!(exists(&ground, name).await, "{name} is mounted");
    }
    assert!(!exists(&ground, &names[3]).await, "nobody mounts it");
}

async fn where_it_may_not_look_it_deletes_nothing_and_says_so(ground: Ground) {
    let mut names = Vec::new();
    for number in 0..3 {
        names.push(version(&ground, number).await);
    }
    let user = ground.real().fresh_limited_user();
    let workloads = json!(["deployments", "statefulsets", "daemonsets"]);
    allow(
        &ground,
        &user,
        json!([
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch", "delete"]},
            {"apiGroups": ["apps"], "resources": workloads, "verbs": ["list"]},
        ]),
    )
    .await;
    ground.create(&deployment(ground.namespace(), "another", &ground.image("another"))).await;
    let ran = rebuild(&ground, &user).await;
    let reason = ran.json()["not_deleted"].to_string();
    assert!(reason.contains("no old version was deleted") && reason.contains("cannot list resource"), "{ran:?}");
    assert!(exists(&ground, &names[0]).await);
    let ran = ground.run_as(&user, &["rebuild", "--immutable", "--namespaces", ground.namespace()]).await;
    assert!(ran.code == 0 && ran.stderr.contains("no old version was deleted"), "{ran:?}");
    rebuild(&ground, &ground.fresh_user()).await;
    assert!(!exists(&ground, &names[0]).await, "an account that may look deletes it");
}
