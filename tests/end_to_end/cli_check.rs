//! `pushroll check`: each thing that can be wrong with the cache has its code, its sentence and its exit code.

use embedded_kubernetes::Outage;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::freshness::allow;
use crate::support::command::Ran;
use crate::support::documents::{document, scanned_document};
use crate::support::fixtures::{config_map, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_cache_that_is_well_passes_the_check);
    suite.on_both(check_names_what_is_wrong_with_the_document);
    suite.on_both(check_names_what_is_wrong_with_the_mount);
    suite.on_embedded(check_tells_a_mount_that_is_late_from_one_that_is_stuck);
    suite.on_both(check_judges_the_mounted_document);
    suite.on_both(check_deep_names_what_differs_from_the_cluster);
    suite.on_control_plane(check_names_the_permission_that_is_missing);
    suite.on_control_plane(check_without_the_permission_to_read_fails);
    suite.on_control_plane(check_calls_nothing_writable_that_a_quota_forbids);
    suite.on_embedded(check_without_an_api_server_fails);
    suite.on_both(check_says_how_full_the_config_map_is);
}

async fn check(ground: &Ground, arguments: &[&str]) -> Ran {
    let arguments: Vec<&str> = ["check"].iter().chain(arguments).copied().collect();
    ground.run_as(&ground.fresh_user(), &arguments).await
}

/// The codes of all findings, in order, and the exit code.
async fn codes(ground: &Ground, arguments: &[&str]) -> (i32, Vec<String>) {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
    let ran = check(ground, &arguments).await;
    let found = ran.json();
    let codes = found["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap());
    (ran.code, codes.map(str::to_owned).collect())
}

/// The finding of this code.
fn finding(ran: &Ran, code: &str) -> Value {
    let found = ran.json();
    let findings = found["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("no {code}: {ran:?}")).clone()
}

fn cache(ground: &Ground, document: &str) -> Value {
    config_map(ground.namespace(), "deployment-image-cache", "cache.json", document)
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

async fn a_cache_that_is_well_passes_the_check(ground: Ground) {
    let namespace = ground.namespace();
    ground.create(&deployment(namespace, "web", &ground.image("web"))).await;
    let rebuilt = ground.run_as(&ground.fresh_user(), &["rebuild", "--namespaces", namespace]).await;
    assert_eq!(rebuilt.stdout, "changed\n", "{rebuilt:?}");
    let mut volume = ground.volume();
    volume.show(&ground.cache_document().await.unwrap());
    // As a file: the order of a JSON object's members is not the document's own.
    let stored = ground.get(&cache(&ground, "")).await["data"]["cache.json"].as_str().unwrap().to_owned();
    volume.show_file("cache.json", stored);
    let mount = volume.directory().to_str().unwrap();

    let (code, found) = codes(&ground, &["--max-age", "1h", "--cache-dir", mount, "--deep"]).await;
    assert_eq!((code, found), (0, ["valid", "fresh", "fits", "mounted", "writable", "same"].map(str::to_owned).into()));
    let names = check(&ground, &["--cache-dir", mount, "-o", "name"]).await;
    assert_eq!((names.code, names.stdout.as_str()), (0, ""), "nothing to say: {names:?}");
    let table = check(&ground, &["--cache-dir", mount]).await;
    assert_eq!(table.code, 0, "{table:?}");
    assert!(table.stdout.starts_with("SEVERITY") && table.stdout.lines().count() <= 24, "one screen: {table:?}");
    assert!(table.stdout.contains(&format!("1 images and 1 workloads of the namespaces {namespace}")), "{table:?}");
}

/// What is in the ConfigMap and how it is checked; the code, what the finding says, and the exit code.
type Fault<'a> = (&'a str, &'a [&'a str], &'a str, &'a str, i32);

async fn check_names_what_is_wrong_with_the_document(ground: Ground) {
    let missing = check(&ground, &["-o", "json"]).await;
    let error = finding(&missing, "missing");
    assert_eq!((missing.code, &error["severity"]), (3, &json!("error")));
    assert!(error["remedy"].to_string().contains("pushroll rebuild"), "{error}");

    let scanned = |as_of| scanned_document(as_of, Some(&[ground.namespace()]), &[]).to_string();
    let (old, recent, future) = (scanned(ago(7200)), scanned(ago(60)), scanned(ago(-7200)));
    let unknown_kind = json!({"images": {"web:1": [{"name": "a", "namespace": "b", "kind": "Robot"}]}}).to_string();
    let max_age: &[&str] = &["--max-age", "1h"];
    let faults: [Fault<'_>; 12] = [
        ("{\"images\": {", &[], "invalid", "not a cache document", 3),
        ("", &[], "invalid", "not a cache document", 3),
        ("{\"version\": 99, \"images\": {}}", &[], "too_new", "upgrade", 3),
        ("{\"images\": {}}", &["--cache-key", "mappings.json"], "no_key", "has no key mappings.json", 3),
        ("{\"images\": {}}", &[], "unknown_age", "when it was true", 0),
        ("{\"images\": {}}", max_age, "unknown_age", "when it was true", 3),
        (&unknown_kind, &[], "left_out", "Robot", 0),
        (&old, max_age, "stale", "older than --max-age, 3600 s", 3),
        (&old, &[], "fresh", " s ago", 0),
        (&future, &[], "from_the_future", "in the future", 0),
        (&future, max_age, "from_the_future", "in the future", 3),
        (&recent, &["--namespaces", "default"], "narrower", "fewer namespaces", 3),
    ];
    for (content, arguments, code, says, exit) in faults {
        ground.create(&cache(&ground, content)).await;
        let ran = check(&ground, &[arguments, &["-o", "json"]].concat()).await;
        let found = finding(&ran, code);
        assert_eq!(ran.code, exit, "{code}: {ran:?}");
        assert!(found.to_string().contains(says), "{found}");
        if exit == 3 {
            let names = check(&ground, &[arguments, &["-o", "name"]].concat()).await;
            assert!(names.stdout.lines().any(|line| line == code), "{code}: {names:?}");
            assert!(found["severity"] == "error" && found["remedy"].is_string(), "{found}");
        }
        ground.delete(&cache(&ground, "")).await;
    }
    let mut immutable = cache(&ground, &recent);
    immutable["immutable"] = json!(true);
    ground.create(&immutable).await;
    let ran = check(&ground, &["-o", "json"]).await;
    let found = finding(&ran, "immutable");
    assert_eq!((ran.code, &found["severity"]), (0, &json!("warning")));
    assert!(found["remedy"].to_string().contains("delete configmap deployment-image-cache"), "{found}");
}

async fn check_names_what_is_wrong_with_the_mount(ground: Ground) {
    let as_of = ago(60);
    let text = scanned_document(as_of, None, &[]).to_string();
    ground.create(&cache(&ground, &text)).await;
    let mut volume = ground.volume();
    let directory = volume.directory().to_owned();
    let mount = ["--cache-dir", directory.to_str().unwrap()];
    let of_mount = async || codes(&ground, &mount).await.1.into_iter().find(|code| code.contains("mount")).unwrap();
    let exit = async || check(&ground, &mount).await.code;

    assert_eq!((of_mount().await.as_str(), exit().await), ("mount_empty", 3));
    volume.show_file("cache.json", "{");
    assert_eq!((of_mount().await.as_str(), exit().await), ("mount_invalid", 3));
    volume.show_file("cache.json", text.clone());
    assert_eq!((of_mount().await.as_str(), exit().await), ("mounted", 0));
    // Just created: the kubelet may still be on its way.
    volume.show(&scanned_document(as_of - SignedDuration::from_secs(40), None, &[]));
    assert_eq!((of_mount().await.as_str(), exit().await), ("mount_behind", 0));
    let late = finding(&check(&ground, &[&mount[..], &["-o", "json"]].concat()).await, "mount_behind");
    assert!(late["severity"] == "ok" && late["reason"].to_string().contains("40 s older"), "{late}");

    let plain = ground.directory().join("plain");
    std::fs::create_dir(&plain).unwrap();
    std::fs::write(plain.join("cache.json"), &text).unwrap();
    let plain = plain.to_str().unwrap().to_owned();
    let (code, found) = codes(&ground, &["--cache-dir", &plain]).await;
    assert!(code == 0 && found.contains(&"subpath_mount".to_owned()), "{found:?}");
    let nowhere = ground.directory().join("nowhere");
    let (code, found) = codes(&ground, &["--cache-dir", nowhere.to_str().unwrap()]).await;
    assert!(code == 3 && found.contains(&"not_mounted".to_owned()), "{found:?}");
}

async fn check_tells_a_mount_that_is_late_from_one_that_is_stuck(ground: Ground) {
    let kubernetes = ground.embedded_kubernetes();
    let mut volume = ground.volume();
    volume.show(&document(&[]));
    let mount = ["--cache-dir", volume.directory().to_str().unwrap()];
    for (minutes, code, severity) in [(2, "mount_behind", "ok"), (4, "mount_stuck", "warning")] {
        kubernetes.set_clock_offset(SignedDuration::from_mins(-minutes));
        ground.create(&cache(&ground, &scanned_document(ago(600), None, &[]).to_string())).await;
        kubernetes.set_clock_offset(SignedDuration::ZERO);
        let ran = check(&ground, &[&mount[..], &["-o", "json"]].concat()).await;
        let found = finding(&ran, code);
        assert_eq!((ran.code, &found["severity"]), (0, &json!(severity)), "{found}");
        ground.delete(&cache(&ground, "")).await;
    }
}

/// The ConfigMap is fresh and was changed just now, as it always is in a busy cluster; `lookup` reads the mount.
async fn check_judges_the_mounted_document(ground: Ground) {
    ground.create(&cache(&ground, &scanned_document(ago(60), None, &[]).to_string())).await;
    let mut volume = ground.volume();
    let directory = volume.directory().to_owned();
    let mount = ["--cache-dir", directory.to_str().unwrap(), "-o", "json"];
    let aged = [&mount[..], &["--max-age", "1h"]].concat();
    for (behind, severity) in [(420, "ok"), (540, "warning")] {
        volume.show(&scanned_document(ago(60 + behind), None, &[]));
        let ran = check(&ground, &aged).await;
        assert_eq!((ran.code, &finding(&ran, "mount_behind")["severity"]), (0, &json!(severity)), "{ran:?}");
    }
    let of_no_age = document(&[]);
    let (old, future) = (scanned_document(ago(7200), None, &[]), scanned_document(ago(-7200), None, &[]));
    for (mounted, says) in
        [(&old, "older than --max-age, 3600 s"), (&future, "in the future"), (&of_no_age, "when it was true")]
    {
        volume.show(mounted);
        let ran = check(&ground, &aged).await;
        let found = finding(&ran, "mount_stale");
        assert_eq!((ran.code, &found["severity"]), (3, &json!("error")), "{ran:?}");
        assert!(found["reason"].to_string().contains(says) && found["remedy"].is_string(), "{found}");
        assert_eq!(finding(&ran, "fresh")["severity"], "ok", "the ConfigMap's: {ran:?}");
        assert_eq!(check(&ground, &mount).await.code, 0, "any age is good");
    }
}

async fn check_deep_names_what_differs_from_the_cluster(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let (same, changed, gone) = (
        deployment(namespace, "same", &image),
        deployment(namespace, "changed", &image),
        deployment(namespace, "gone", &image),
    );
    let listed = scanned_document(ago(60), Some(&[namespace]), &[(&image, &[&same, &changed, &gone])]).to_string();
    ground.create(&cache(&ground, &listed)).await;
    ground.create(&same).await;
    ground.create(&deployment(namespace, "changed", &ground.image("other"))).await;
    for number in 0..7 {
        ground.create(&stateful_set(namespace, &format!("new-{number}"), &image)).await;
    }
    let shallow = check(&ground, &[]).await;
    assert_eq!(shallow.code, 0, "{shallow:?}");
    let ran = check(&ground, &["--deep", "-o", "json"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let difference = ran.json()["difference"].clone();
    let named = |kind: &str| difference[kind]["first"].as_array().unwrap().iter().map(|w| w["name"].clone()).collect();
    let (missing, others): (Vec<Value>, [Vec<Value>; 2]) = (named("missing"), [named("gone"), named("changed")]);
    assert_eq!((&difference["missing"]["count"], missing.len()), (&json!(7), 5), "{difference}");
    assert_eq!(others, [vec![json!("gone")], vec![json!("changed")]], "{difference}");
    let reason = finding(&ran, "differs")["reason"].to_string();
    assert!(
        reason.contains("7 workloads of the cluster are not in it") && reason.contains("1 in it is gone"),
        "{reason}"
    );

    let rebuilt = ground.run_as(&ground.fresh_user(), &["rebuild", "--namespaces", namespace]).await;
    assert_eq!(rebuilt.stdout, "changed\n", "{rebuilt:?}");
    let (code, found) = codes(&ground, &["--deep"]).await;
    assert!(code == 0 && found.contains(&"same".to_owned()), "{found:?}");
}

async fn check_names_the_permission_that_is_missing(ground: Ground) {
    ground.create(&cache(&ground, &scanned_document(ago(60), Some(&[ground.namespace()]), &[]).to_string())).await;
    let user = ground.real().fresh_limited_user();
    let read = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
    let list = json!({"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["list"]});
    allow(&ground, &user, json!([read, list])).await;
    let ran = ground.run_as(&user, &["check", "-o", "json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let write = finding(&ran, "not_writable")["reason"].to_string();
    assert!(write.contains("we may not patch configmaps deployment-image-cache in the namespace"), "{write}");
    let scan = finding(&ran, "not_scannable")["reason"].to_string();
    assert!(scan.contains("we may not list daemonsets.apps in the namespace"), "{scan}");
    assert_eq!(ran.stdout.matches("we may not").count(), 2, "{ran:?}");

    let pods = finding(&ran, "pods_not_listable");
    assert!(pods["reason"].to_string().contains("the permission to list pods in the namespace"), "{pods}");
    assert_eq!(pods["severity"], "warning");

    let deep = ground.run_as(&user, &["check", "--deep", "-o", "json"]).await;
    let unseen = finding(&deep, "part_unseen");
    assert_eq!((deep.code, &unseen["severity"]), (3, &json!("error")), "{deep:?}");
    assert!(unseen["reason"].as_str().unwrap().contains("cannot list resource \"daemonsets\""), "{unseen}");
    finding(&deep, "same");
}

async fn check_without_the_permission_to_read_fails(ground: Ground) {
    let user = ground.real().fresh_limited_user();
    let ran = ground.run_as(&user, &["check"]).await;
    let message = ran.failed_with_one_sentence();
    assert!(message.contains("deployment-image-cache") && message.contains("cannot get resource"), "{message}");
}

async fn check_calls_nothing_writable_that_a_quota_forbids(ground: Ground) {
    let (_, found) = codes(&ground, &[]).await;
    assert!(found.contains(&"writable".to_owned()), "{found:?}");
    ground.forbid_config_maps().await;
    let refused = async |says: [&str; 2]| {
        let ran = check(&ground, &["-o", "json"]).await;
        let found = finding(&ran, "not_writable");
        assert!(says.iter().all(|says| found["reason"].to_string().contains(says)), "{found}");
        assert!(found["severity"] == "warning" && found["remedy"].is_string(), "{found}");
        assert!(!ran.stdout.contains("\"writable\""), "{ran:?}");
    };
    refused(["cannot be created", "exceeded quota"]).await;
    assert!(ground.run_as(&ground.fresh_user(), &["rebuild"]).await.failed_with_one_sentence().contains("quota"));
    let quota = format!("/api/v1/namespaces/{}/resourcequotas/no-more", ground.namespace());
    ground.request("DELETE", &quota, None).await.unwrap();

    // One that exists is changed, not created: no quota counts that.
    let manifest = cache(&ground, &scanned_document(ago(60), Some(&[ground.namespace()]), &[]).to_string());
    let created = async || ground.try_create(&manifest).await.is_ok().then_some(());
    eventually("the quota is gone", created).await;
    ground.forbid_config_maps().await;
    let (_, found) = codes(&ground, &[]).await;
    assert!(found.contains(&"writable".to_owned()), "{found:?}");
}

async fn check_without_an_api_server_fails(ground: Ground) {
    for (outage, says) in [(401, "credentials"), (403, "not permitted"), (503, "failed (503)")] {
        ground.embedded_kubernetes().set_outage(Some(Outage::Status(outage)));
        let ran = check(&ground, &["-o", "json"]).await;
        assert!(ran.failed_with_one_sentence().contains(says), "{ran:?}");
    }
}

async fn check_says_how_full_the_config_map_is(ground: Ground) {
    let head = scanned_document(ago(60), Some(&[ground.namespace()]), &[]);
    for (bytes, code, severity) in [
        (524_287, "fits", "ok"),
        (524_288, "half_full", "warning"),
        (838_861, "nearly_full", "warning"),
        (1_048_576, "nearly_full", "warning"),
    ] {
        // What others keep in it counts as well.
        let mut map = cache(&ground, &head.to_string());
        let rest = bytes - head.to_string().len();
        map["data"]["notes"] = json!("x".repeat(rest));
        ground.create(&map).await;
        let ran = check(&ground, &["-o", "json"]).await;
        let found = finding(&ran, code);
        assert_eq!((ran.code, &found["severity"]), (0, &json!(severity)), "{found}");
        assert!(found["reason"].to_string().contains(&format!("{bytes} of the 1048576 bytes")), "{found}");
        assert_eq!(found["remedy"].to_string().contains("--namespaces"), severity == "warning", "{found}");
        ground.delete(&map).await;
    }
}
