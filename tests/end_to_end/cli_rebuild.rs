//! `pushroll rebuild`: the scan that a CronJob or a person asks for.

use serde_json::{Value, json};

use crate::support::command::{run, run_with};
use crate::support::fixtures::{config_map, daemon_set, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(rebuild_writes_what_has_changed_and_says_so);
    suite.on_both(a_dry_rebuild_writes_nothing);
    suite.on_both(rebuild_sees_the_whole_cluster_unless_told_otherwise);
    suite.on_both(rebuild_writes_the_config_map_that_it_is_told);
    suite.on_both(rebuild_says_why_it_cannot_write);
}

const WRITES: [&str; 3] = ["create", "update", "patch"];

async fn rebuild_writes_what_has_changed_and_says_so(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "web", &image)).await;
    let user = ground.fresh_user();
    let rebuild = async || ground.run_as(&user, &["rebuild", "--namespaces", namespace]).await;

    let ran = rebuild().await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{namespace}/deployment-image-cache: 1 images, 1 workloads")), "{ran:?}");
    let document = ground.cache_document().await.unwrap();
    assert_eq!(document["images"], json!({&image: [{"name": "web", "namespace": namespace}]}), "{document}");
    assert_eq!(document["scope"], json!({"namespaces": [namespace]}));
    assert!(document["as_of"].is_string(), "{document}");

    let before = ground.api_calls(&user).len();
    assert_eq!(rebuild().await.stdout, "unchanged\n");
    let calls = ground.api_calls(&user)[before..].to_vec();
    assert!(calls.iter().all(|call| !WRITES.contains(&call.verb.as_str())), "{calls:?}");

    ground.create(&daemon_set(namespace, "agent", &image)).await;
    assert_eq!(rebuild().await.stdout, "changed\n");
    ground.delete(&deployment(namespace, "web", &image)).await;
    let ran = ground.run_as(&user, &["rebuild", "--namespaces", namespace, "-o", "json"]).await;
    let config_map = format!("{namespace}/deployment-image-cache");
    assert_eq!(ran.json(), json!({"result": "changed", "config_map": config_map, "images": 1, "workloads": 1}));
    let entry = json!([{"name": "agent", "namespace": namespace, "kind": "DaemonSet"}]);
    assert_eq!(ground.cache_document().await.unwrap()["images"], json!({&image: entry}));
}

async fn a_dry_rebuild_writes_nothing(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "web", &image)).await;
    let user = ground.fresh_user();
    let dry = async || ground.run_as(&user, &["rebuild", "--dry-run", "--namespaces", namespace]).await;
    let ran = dry().await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    assert!(ran.stderr.contains("nothing was written"), "{ran:?}");
    assert_eq!(ground.cache_document().await, None);

    let same = json!({"images": {&image: [{"name": "web", "namespace": namespace}]}}).to_string();
    let stored = config_map(namespace, "deployment-image-cache", "cache.json", &same);
    ground.create(&stored).await;
    assert_eq!(dry().await.stdout, "unchanged\n");
    ground.create(&deployment(namespace, "web-2", &image)).await;
    assert_eq!(dry().await.stdout, "changed\n");
    assert_eq!(ground.get(&stored).await["data"]["cache.json"], same);
    assert!(ground.api_calls(&user).iter().all(|call| !WRITES.contains(&call.verb.as_str())));
}

async fn rebuild_sees_the_whole_cluster_unless_told_otherwise(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let other = ground.another_namespace("other").await;
    ground.create(&deployment(namespace, "web", &image)).await;
    ground.create(&deployment(&other, "web", &image)).await;
    let user = ground.fresh_user();
    let entries = async |arguments: &[&str]| -> Value {
        let ran = ground.run_as(&user, arguments).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let document = ground.cache_document().await.unwrap();
        json!([document["images"][&image], document["scope"]])
    };
    let of = |namespace: &str| json!({"name": "web", "namespace": namespace});
    assert_eq!(entries(&["rebuild"]).await, json!([[of(namespace), of(&other)], {}]));
    let narrower = ground.run_as(&user, &["rebuild", "--namespaces", &other]).await;
    assert!(narrower.failed_with_one_sentence().contains("holds a scan of more namespaces"), "{narrower:?}");
    ground.delete(&config_map(namespace, "deployment-image-cache", "cache.json", "")).await;
    assert_eq!(entries(&["rebuild", "--namespaces", &other]).await, json!([[of(&other)], {"namespaces": [other]}]));
    let both = format!("{namespace},{other}");
    assert_eq!(
        entries(&["rebuild", "--namespaces", &both]).await,
        json!([[of(namespace), of(&other)], {"namespaces": [namespace, other]}])
    );
}

async fn rebuild_writes_the_config_map_that_it_is_told(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    ground.create(&deployment(namespace, "web", &image)).await;
    let other = ground.another_namespace("other").await;
    let kubeconfig = ground.kubeconfig(&ground.fresh_user());
    let kubeconfig = kubeconfig.to_str().unwrap();
    // Where: the kubeconfig's context, NAMESPACE, -n; the later wins. Which: environment, flags.
    let at = async |namespace: &str, name: &str, key: &str| {
        let stored = ground.get(&config_map(namespace, name, key, "")).await;
        let document: Value = serde_json::from_str(stored["data"][key].as_str().unwrap()).unwrap();
        assert!(document["images"][&image].is_array(), "{namespace}/{name}: {stored}");
        ground.delete(&stored_manifest(namespace, name)).await;
    };
    let rebuild = ["rebuild", "--kubeconfig", kubeconfig, "--namespaces", namespace];
    let with =
        |more: &[&'static str]| -> Vec<String> { rebuild.iter().chain(more).map(|text| (*text).to_owned()).collect() };
    let go = async |arguments: Vec<String>, environment: &[(&str, &str)]| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ran = run_with(&arguments, environment, "").await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    };
    go(with(&[]), &[]).await;
    at(namespace, "deployment-image-cache", "cache.json").await;
    go(with(&[]), &[("NAMESPACE", "")]).await;
    at(namespace, "deployment-image-cache", "cache.json").await;
    go(with(&[]), &[("NAMESPACE", &other)]).await;
    at(&other, "deployment-image-cache", "cache.json").await;
    let mut arguments = with(&["--cache-configmap", "my-cache", "--cache-key", "my.json", "-n"]);
    arguments.push(other.clone());
    go(arguments, &[("NAMESPACE", namespace)]).await;
    at(&other, "my-cache", "my.json").await;
    let environment = [
        ("PUSHROLL_CACHE_CONFIGMAP", "env-cache"),
        ("PUSHROLL_CACHE_KEY", "env.json"),
        ("PUSHROLL_KUBECONFIG", kubeconfig),
        ("PUSHROLL_NAMESPACES", namespace),
    ];
    let ran = run_with(&["rebuild"], &environment, "").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    at(namespace, "env-cache", "env.json").await;
    // KUBECONFIG, as kubectl has it.
    let ran = run_with(&["rebuild", "--namespaces", namespace], &[("KUBECONFIG", kubeconfig)], "").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
}

fn stored_manifest(namespace: &str, name: &str) -> Value {
    config_map(namespace, name, "any", "")
}

async fn rebuild_says_why_it_cannot_write(ground: Ground) {
    let namespace = ground.namespace();
    ground.create(&deployment(namespace, "web", &ground.image("web"))).await;
    let user = ground.fresh_user();
    let mut immutable = config_map(namespace, "deployment-image-cache", "cache.json", "{\"images\":{}}");
    immutable["immutable"] = json!(true);
    ground.create(&immutable).await;
    let ran = ground.run_as(&user, &["rebuild", "--namespaces", namespace]).await;
    let sentence = ran.failed_with_one_sentence();
    for said in [
        &format!("kubectl -n {namespace} delete configmap deployment-image-cache"),
        "restart the pods",
        "pushroll rebuild --immutable --set-volume",
    ] {
        assert!(sentence.contains(said), "{sentence}");
    }

    let kubeconfig = ground.kubeconfig(&user);
    let ran = run(&[
        "rebuild",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "-n",
        "no-such-namespace",
        "--namespaces",
        namespace,
    ])
    .await;
    assert!(ran.failed_with_one_sentence().contains("no-such-namespace"), "{ran:?}");
}
