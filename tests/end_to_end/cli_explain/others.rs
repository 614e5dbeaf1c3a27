//! What else runs an image: `explain` names CronJobs, Jobs and ReplicaSets, and what becomes of each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::freshness::allow;
use crate::support::fixtures::{collection, deployment, digest};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(explain_names_what_no_push_restarts);
    suite.on_control_plane(explain_says_what_it_could_not_look_at);
}

fn pods(name: &str, image: &str, policy: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": image, "imagePullPolicy": policy}],
        },
    })
}

fn cron_job(namespace: &str, name: &str, image: &str, policy: &str, suspend: bool) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "schedule": "0 0 29 2 *", "suspend": suspend,
            "jobTemplate": {"spec": {"template": pods(name, image, policy)}},
        },
    })
}

fn job(namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace},
        // Without pods it does not end.
        "spec": {"parallelism": 0, "template": pods(name, image, "Always")},
    })
}

fn replica_set(namespace: &str, name: &str, image: &str, replicas: u32) -> Value {
    let mut template = pods(name, image, "Always");
    template["spec"]["restartPolicy"] = json!("Always");
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    })
}

fn owned_by(mut object: Value, api_version: &str, kind: &str, name: &str, uid: &Value) -> Value {
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}]);
    object
}

/// By name: kind, code and what the reason must contain.
fn rows(answer: &Value) -> BTreeMap<String, (String, String, String)> {
    let text = |other: &Value, key: &str| other[key].as_str().unwrap().to_owned();
    let others = answer["others"].as_array().unwrap().iter();
    others
        .map(|other| (text(other, "name"), (text(other, "kind"), text(other, "code"), text(other, "reason"))))
        .collect()
}

async fn explain_names_what_no_push_restarts(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let (another, pinned) = (ground.image("another"), format!("{image}@{}", digest(7)));
    for object in [
        deployment(namespace, "web", &image),
        cron_job(namespace, "nightly", &image, "Always", false),
        cron_job(namespace, "on-node", &image, "IfNotPresent", false),
        cron_job(namespace, "never", &image, "Never", false),
        cron_job(namespace, "suspended", &image, "Always", true),
        cron_job(namespace, "of-another", &another, "Always", false),
        cron_job(namespace, "pinned", &pinned, "Always", false),
        job(namespace, "migrate", &image),
        replica_set(namespace, "bare", &image, 1),
        replica_set(namespace, "scaled-down", &image, 0),
    ] {
        ground.create(&object).await;
    }
    let uid = |object: Value| object["metadata"]["uid"].clone();
    let cron = uid(ground.get(&cron_job(namespace, "suspended", &image, "Always", true)).await);
    let of_cron_job = owned_by(job(namespace, "nightly-1", &image), "batch/v1", "CronJob", "suspended", &cron);
    ground.create(&of_cron_job).await;
    let rollout = json!("6f1a4dd1-0000-4000-8000-000000000001");
    for (name, replicas) in [("rollout-new", 1), ("rollout-old", 0)] {
        let of_rollout = replica_set(namespace, name, &image, replicas);
        let of_rollout = owned_by(of_rollout, "argoproj.io/v1alpha1", "Rollout", "canary", &rollout);
        ground.create(&of_rollout).await;
    }
    if !ground.is_control_plane() {
        // What the controllers of a real one make.
        let web = uid(ground.get(&deployment(namespace, "web", &image)).await);
        let of_web = owned_by(replica_set(namespace, "web-1", &image, 1), "apps/v1", "Deployment", "web", &web);
        ground.create(&of_web).await;
        let done = job(namespace, "done", &image);
        ground.create(&done).await;
        let status = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
        let path = format!("{}/done/status", collection(&done));
        ground.request("PATCH", &path, Some(status)).await.unwrap();
    }

    let user = ground.fresh_user();
    let explain = ["explain", &image, "--namespaces", namespace, "-o"];
    let ran = ground.run_as(&user, &[&explain[..], &["json"]].concat()).await;
    let answer = ran.json();
    let expected = [
        ("nightly", "CronJob", "next_run", "its next run pulls the image"),
        ("on-node", "CronJob", "next_run", "only on a node that does not hold the tag"),
        ("never", "CronJob", "next_run", "does not pull the image"),
        ("suspended", "CronJob", "next_run", "it is suspended"),
        ("migrate", "Job", "runs_on", "a Job is not restarted"),
        ("bare", "ReplicaSet", "no_controller", "until they are deleted"),
        ("scaled-down", "ReplicaSet", "no_controller", "when it is scaled up"),
        ("rollout-new", "ReplicaSet", "other_controller", "Rollout canary"),
    ];
    let found = rows(&answer);
    assert_eq!((ran.code, found.len()), (0, expected.len()), "{answer:#}");
    for (name, kind, code, reason) in expected {
        let (found_kind, found_code, found_reason) = &found[name];
        assert_eq!((&**found_kind, &**found_code), (kind, code), "{name}: {answer:#}");
        assert!(found_reason.contains(reason), "{name}: {found_reason}");
    }
    assert_eq!(
        (&answer["others_unseen"], answer["workloads"].as_array().unwrap().len()),
        (&Value::Null, 1),
        "{answer}"
    );

    let ran = ground.run_as(&user, &[&explain[..], &["table"]].concat()).await;
    assert!(ran.stdout.contains("Not restarted by a push:") && ran.stdout.contains("its next run pulls"), "{ran:?}");
    let names = ground.run_as(&user, &[&explain[..], &["name"]].concat()).await.stdout;
    assert_eq!(names, format!("{namespace}/deployment/web\n"));
    let service = ground.service().arguments(["--namespaces", namespace]).start_ready().await;
    let of_service = get(&format!("{}/v1/explain?image={image}", service.admin)).await.json();
    assert_eq!(of_service["others"], answer["others"], "{of_service}");

    // A push restarts none of them, and says nothing of them.
    let bare = replica_set(namespace, "bare", &image, 1);
    let pushed = service.push(&crate::support::fixtures::PushMessage::now(&image, 1)).await.json();
    assert_eq!((&pushed["outcome"], &pushed["others"]), (&json!("restarted"), &Value::Null), "{pushed}");
    assert_eq!(ground.generation(&bare).await, 1);

    // Where nothing else runs it.
    let only = ground.image("only");
    ground.create(&cron_job(namespace, "only", &only, "Always", true)).await;
    let ran = ground.run_as(&user, &["explain", &only, "--namespaces", namespace]).await;
    assert!(ran.code == 0 && ran.stderr.contains("no workload that a push restarts runs"), "{ran:?}");
    assert!(ran.stdout.contains("only") && !ran.stdout.contains("ACTION"), "{ran:?}");
}

async fn explain_says_what_it_could_not_look_at(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "web", &image)).await;
    ground.create(&job(namespace, "migrate", &image)).await;
    let user = ground.real().fresh_limited_user();
    let rules = json!([
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    ]);
    allow(&ground, &user, rules).await;
    let explain = ["explain", &image, "--namespaces", namespace, "-o"];
    let ran = ground.run_as(&user, &[&explain[..], &["json"]].concat()).await;
    let answer = ran.json();
    assert_eq!((ran.code, rows(&answer).len()), (0, 1), "{answer:#}");
    let unseen: BTreeMap<_, _> = answer["others_unseen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unseen| (unseen["kind"].as_str().unwrap(), unseen))
        .collect();
    assert_eq!(unseen.keys().collect::<Vec<_>>(), [&"CronJob", &"ReplicaSet"], "{answer:#}");
    for (kind, plural) in [("CronJob", "cronjobs"), ("ReplicaSet", "replicasets")] {
        assert_eq!(unseen[kind]["namespace"], namespace);
        let reason = unseen[kind]["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("cannot list resource \"{plural}\"")), "{reason}");
    }
    let ran = ground.run_as(&user, &[&explain[..], &["table"]].concat()).await;
    assert!(ran.stderr.contains(&format!("the CronJobs of {namespace} were not looked at")), "{ran:?}");
}
