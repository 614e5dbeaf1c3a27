//! `pushroll explain`: what a push would do, workload by workload, and why.

mod others;

use serde_json::{Value, json};

use crate::support::fixtures::{codes, daemon_set, deployment, digest, expected};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(explain_gives_each_workload_its_reason);
    suite.on_both(explain_looks_at_the_workloads_themselves);
    suite.on_both(explain_of_an_image_that_nobody_runs_says_no);
    others::tests(suite);
}

async fn explain_gives_each_workload_its_reason(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let excluded = ground.another_namespace("excluded").await;
    let changed = |name: &str, change: fn(&mut Value)| {
        let mut workload = deployment(namespace, name, &image);
        change(&mut workload);
        workload
    };
    let mut on_delete = daemon_set(namespace, "on-delete", &image);
    on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let manifests = [
        deployment(namespace, "web", &image),
        changed("paused", |workload| workload["spec"]["paused"] = json!(true)),
        changed("opted-out", |workload| workload["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"})),
        changed("never", |workload| {
            workload["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Never")
        }),
        deployment(namespace, "pinned", &format!("{image}@{}", digest(7))),
        deployment(&excluded, "excluded", &image),
        on_delete,
    ];
    for manifest in &manifests {
        ground.create(manifest).await;
    }
    let user = ground.fresh_user();
    let explain = async |format: &str| {
        ground.run_as(&user, &["explain", &image, "-o", format, "--exclude-namespaces", &excluded]).await
    };

    let ran = explain("json").await;
    let answer = ran.json();
    assert_eq!((ran.code, &answer["outcome"], &answer["image"]), (0, &json!("dry_run"), &json!(image)), "{answer}");
    assert_eq!((&answer["source"]["tier"], &answer["source"]["authoritative"]), (&json!("scan"), &json!(true)));
    let rows = [
        ("web", "restarted", "runs_image"),
        ("paused", "restarted", "runs_image"),
        ("opted-out", "skipped", "opted_out"),
        ("never", "skipped", "never_pulls"),
        ("pinned", "skipped", "pinned_by_digest"),
        ("excluded", "skipped", "out_of_scope"),
        ("on-delete", "skipped", "on_delete"),
    ];
    assert_eq!(codes(&answer), expected(&rows), "{answer}");
    for workload in answer["workloads"].as_array().unwrap() {
        assert!(workload["reason"].as_str().is_some_and(|reason| reason.contains(' ')), "{workload}");
    }

    let ran = explain("table").await;
    assert!(ran.stdout.starts_with("NAMESPACE") && !ran.stdout.contains('\u{1b}'), "{ran:?}");
    assert!(ran.stderr.contains("found from the scan, as of 20"), "{ran:?}");
    for (name, action, _) in rows {
        let row = ran
            .stdout
            .lines()
            .find(|line| line.split_whitespace().nth(2) == Some(name))
            .unwrap_or_else(|| panic!("{name}: {ran:?}"));
        assert_eq!(row.split_whitespace().nth(3), Some(action), "{row}");
    }
    assert!(ran.stdout.contains("it rolls on resume") && ran.stdout.contains(&digest(7)), "{ran:?}");
    let ran = explain("name").await;
    let restarted = format!("{namespace}/deployment/paused\n{namespace}/deployment/web\n");
    assert_eq!((ran.code, &ran.stdout), (0, &restarted), "what would be restarted: {ran:?}");
    let left = format!("{namespace}/daemonset/on-delete: skipped, ");
    assert!(ran.stderr.contains(&left), "why the others are not there: {ran:?}");

    for manifest in &manifests {
        assert_eq!(ground.generation(manifest).await, 1, "nothing is done");
    }
    assert!(ground.api_calls(&user).iter().all(|call| ["get", "list"].contains(&call.verb.as_str())));

    // The admin listener gives the same.
    let service = ground.service().arguments(["--exclude-namespaces", &excluded]).start_ready().await;
    let answer = get(&format!("{}/v1/explain?image={image}", service.admin)).await;
    assert_eq!((answer.status.as_u16(), codes(&answer.json())), (200, expected(&rows)), "{}", answer.text());
}

/// A document that is wrong about both: the workloads have the last word.
async fn explain_looks_at_the_workloads_themselves(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "moved-on", &ground.image("another"))).await;
    let mount = ground.directory().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let entry = |name: &str| json!({"name": name, "namespace": namespace});
    let document = json!({"images": {&image: [entry("moved-on"), entry("gone")]}});
    std::fs::write(mount.join("cache.json"), document.to_string()).unwrap();
    let ran = ground
        .run_as(&ground.fresh_user(), &["explain", &image, "-o", "json", "--cache-dir", mount.to_str().unwrap()])
        .await;
    let rows = [("moved-on", "skipped", "image_changed"), ("gone", "skipped", "gone")];
    assert_eq!((ran.code, codes(&ran.json())), (0, expected(&rows)), "{ran:?}");
}

async fn explain_of_an_image_that_nobody_runs_says_no(ground: Ground) {
    let (user, image) = (ground.fresh_user(), ground.image("nobodys"));
    let ran = ground.run_as(&user, &["explain", &image]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("no workload runs {image}")), "{ran:?}");
    let ran = ground.run_as(&user, &["explain", &image, "-o", "json"]).await;
    assert_eq!((ran.code, &ran.json()["workloads"]), (3, &json!([])), "{ran:?}");
}
