//! `pushroll lookup`: who runs an image, from which tier, on stdout for people and programs.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::command::{Ran, run};
use crate::support::fixtures::{config_map, daemon_set, deployment, digest, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(lookup_scans_where_nothing_is_cached);
    suite.on_both(lookup_asks_the_config_map_before_it_scans);
    suite.on_both(lookup_reads_the_mount_without_an_api_call);
    suite.plain(lookup_without_the_api_needs_no_kubernetes);
}

const HEADER: &str = "NAMESPACE  KIND  NAME\n";

/// A table without the padding between its columns.
fn squeezed(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join("  ") + "\n").collect()
}

fn is_plain(ran: &Ran) {
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "no colour in a pipe: {ran:?}");
}

async fn lookup_scans_where_nothing_is_cached(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "web", &image)).await;
    ground.create(&stateful_set(namespace, "db", &image)).await;
    ground.create(&daemon_set(namespace, "agent", &image)).await;
    ground.create(&deployment(namespace, "pinned", &format!("{image}@{}", digest(7)))).await;
    let user = ground.fresh_user();

    let ran = ground.run_as(&user, &["lookup", &image]).await;
    is_plain(&ran);
    let rows = format!("{namespace}  DaemonSet  agent\n{namespace}  Deployment  web\n{namespace}  StatefulSet  db\n");
    let mut lines: Vec<_> = rows.lines().collect();
    let table = squeezed(&ran.stdout);
    let mut printed: Vec<_> = table.strip_prefix(HEADER).unwrap_or_else(|| panic!("{ran:?}")).lines().collect();
    lines.sort_unstable();
    printed.sort_unstable();
    assert_eq!((ran.code, printed), (0, lines), "{ran:?}");
    assert!(ran.stderr.contains("from the scan, as of 20"), "{ran:?}");

    let ran = ground.run_as(&user, &["lookup", &image, "-o", "name"]).await;
    let mut names: Vec<_> = ran.stdout.lines().collect();
    names.sort_unstable();
    let expected = ["daemonset/agent", "deployment/web", "statefulset/db"].map(|name| format!("{namespace}/{name}"));
    assert_eq!((ran.code, names), (0, expected.iter().map(String::as_str).collect()), "{}", ran.stderr);

    let ran = ground.run_as(&user, &["lookup", &format!("{image}@{}", digest(7)), "-o", "json"]).await;
    let answer = ran.json();
    assert_eq!(
        answer["workloads"],
        json!([{"namespace": namespace, "kind": "Deployment", "name": "pinned"}]),
        "{answer}"
    );
    assert_eq!(
        (&answer["source"]["tier"], &answer["source"]["authoritative"]),
        (&json!("scan"), &json!(false)),
        "{answer}"
    );

    let nobody = ground.image("nobodys");
    let ran = ground.run_as(&user, &["lookup", &nobody]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("no workload runs {nobody}")), "{ran:?}");
    let ran = ground.run_as(&user, &["lookup", &nobody, "-o", "json"]).await;
    assert_eq!((ran.code, &ran.json()["workloads"]), (3, &json!([])), "{ran:?}");
    let ran = ground.run_as(&user, &["lookup", &nobody, "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");

    assert!(
        ground.api_calls(&user).iter().all(|call| ["get", "list"].contains(&call.verb.as_str())),
        "a lookup writes nothing"
    );
}

fn document(namespace: &str, image: &str, name: &str) -> Value {
    json!({"images": {image: [{"name": name, "namespace": namespace}]}})
}

async fn lookup_asks_the_config_map_before_it_scans(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let stored = document(namespace, &image, "stored").to_string();
    ground.create(&config_map(namespace, "deployment-image-cache", "cache.json", &stored)).await;
    let other = ground.another_namespace("other").await;
    let elsewhere = document(namespace, &image, "elsewhere").to_string();
    ground.create(&config_map(&other, "my-cache", "my.json", &elsewhere)).await;
    let user = ground.fresh_user();

    let ran = ground.run_as(&user, &["lookup", &image, "-o", "json"]).await;
    assert_eq!(
        (&ran.json()["source"]["tier"], &ran.json()["workloads"][0]["name"]),
        (&json!("configmap"), &json!("stored"))
    );
    assert_eq!(ground.api_calls(&user).len(), 1, "one GET: {:?}", ground.api_calls(&user));
    let ran = ground.run_as(&user, &["lookup", &image]).await;
    assert!(ran.stderr.contains("from the configmap, of unknown age"), "{ran:?}");

    let kubeconfig = ground.kubeconfig(&user);
    let ran = run(&[
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "-n",
        &other,
        "--cache-dir",
        "/nonexistent",
        "lookup",
        &image,
        "--cache-configmap",
        "my-cache",
        "--cache-key",
        "my.json",
        "-o",
        "name",
    ])
    .await;
    assert_eq!((ran.code, ran.stdout), (0, format!("{namespace}/deployment/elsewhere\n")), "{}", ran.stderr);
}

fn mount(directory: PathBuf, content: &str) -> PathBuf {
    std::fs::create_dir_all(directory.join("..2026_11_20")).unwrap();
    std::fs::write(directory.join("..2026_11_20/cache.json"), content).unwrap();
    std::os::unix::fs::symlink("..2026_11_20", directory.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/cache.json", directory.join("cache.json")).unwrap();
    directory
}

async fn lookup_reads_the_mount_without_an_api_call(ground: Ground) {
    let image = ground.image("web");
    let mount = mount(ground.directory().join("mount"), &document(ground.namespace(), &image, "mounted").to_string());
    let user = ground.fresh_user();
    let ran = ground.run_as(&user, &["lookup", &image, "-o", "json", "--cache-dir", mount.to_str().unwrap()]).await;
    assert_eq!(
        (&ran.json()["source"]["tier"], &ran.json()["workloads"][0]["name"]),
        (&json!("mount"), &json!("mounted"))
    );
    assert_eq!(ground.api_calls(&user), []);
}

async fn lookup_without_the_api_needs_no_kubernetes() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let with_head = json!({
        "version": 1, "as_of": "2026-11-20T09:16:40Z", "scope": {}, "counts": {"images": 1, "workloads": 1},
        "images": {"nginx": [{"name": "web", "namespace": "shop", "kind": "StatefulSet", "x": 1}]}, "y": 2,
    });
    let good = mount(at("good"), &with_head.to_string());
    let lookup = async |mount: &PathBuf, image: &str| {
        run(&["lookup", image, "--no-api", "--cache-dir", mount.to_str().unwrap(), "--kubeconfig", "/nonexistent"])
            .await
    };
    for image in ["nginx", "nginx:latest", "docker.io/library/nginx:latest"] {
        let ran = lookup(&good, image).await;
        is_plain(&ran);
        assert_eq!((ran.code, squeezed(&ran.stdout)), (0, format!("{HEADER}shop  StatefulSet  web\n")), "{ran:?}");
        assert!(ran.stderr.starts_with("from the mount, as of 2026-11-20T09:16:40Z ("), "{ran:?}");
    }
    let ran = lookup(&good, "nginx:1").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");

    std::fs::create_dir(at("empty")).unwrap();
    for (mount, named) in [
        (mount(at("no-json"), "{\"images\":"), "no-json"),
        (mount(at("no-utf8"), "").join("..data"), "EOF"),
        (mount(at("too-new"), "{\"version\": 99, \"images\": {}}"), "upgrade"),
        (at("empty"), "cache.json"),
        (at("missing"), "missing"),
    ] {
        let ran = lookup(&mount, "nginx").await;
        let message = ran.failed_with_one_sentence();
        assert!(message.contains(named), "{message}");
    }
}
