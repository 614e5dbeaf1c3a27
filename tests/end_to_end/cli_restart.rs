//! `pushroll restart`: now, as a person would; and what a later push makes of it.

mod wait;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::command::run;
use crate::support::fixtures::{PushMessage, codes, daemon_set, deployment, digest, expected, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage, once};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(restart_of_an_image_leaves_what_a_push_would);
    suite.on_both(restart_of_an_image_that_nobody_runs_says_no);
    suite.on_both(restart_of_an_image_waits_for_the_proof);
    suite.on_both(restart_takes_what_lookup_prints);
    suite.on_both(what_is_named_is_restarted_whatever_it_says);
    suite.on_both(a_restart_by_hand_looks_again_after_an_edit);
    suite.on_both(a_push_from_before_a_restart_by_hand_is_done);
    suite.on_both(a_restart_by_hand_leaves_the_record_alone);
    wait::tests(suite);
}

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";

async fn template_annotations(ground: &Ground, workload: &Value) -> Value {
    ground.get(workload).await["spec"]["template"]["metadata"]["annotations"].clone()
}

/// `NAMESPACE/KIND/NAME`, the kind as given.
fn name_of(workload: &Value, kind: &str) -> String {
    let text = |key: &str| workload["metadata"][key].as_str().unwrap();
    format!("{}/{kind}/{}", text("namespace"), text("name"))
}

/// It was restarted once since it was created, by the command line's own field manager, without a record.
async fn was_restarted_by_hand(ground: &Ground, workload: &Value) {
    let object = ground.get(workload).await;
    assert_eq!(object["metadata"]["generation"], 2, "{object}");
    let annotations = template_annotations(ground, workload).await;
    assert!(annotations[RECORD].is_null(), "{annotations}");
    annotations[RESTARTED_AT].as_str().unwrap().parse::<Timestamp>().unwrap();
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    let ours = managers.iter().find(|entry| entry["manager"] == "pushroll-cli").unwrap();
    let owned = &ours["fieldsV1"]["f:spec"]["f:template"]["f:metadata"]["f:annotations"];
    assert!(owned[format!("f:{RESTARTED_AT}")].is_object() && owned[format!("f:{RECORD}")].is_null(), "{ours}");
}

async fn restart_of_an_image_leaves_what_a_push_would(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let excluded = ground.another_namespace("excluded").await;
    let (web, agent) = (deployment(namespace, "web", &image), daemon_set(namespace, "agent", &image));
    let mut opted_out = stateful_set(namespace, "opted-out", &image);
    opted_out["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
    let mut on_delete = daemon_set(namespace, "on-delete", &image);
    on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let left = [
        opted_out,
        on_delete,
        deployment(namespace, "pinned", &format!("{image}@{}", digest(7))),
        deployment(&excluded, "excluded", &image),
        deployment(namespace, "another", &ground.image("another")),
    ];
    for manifest in [&web, &agent].into_iter().chain(&left) {
        ground.create(manifest).await;
    }
    let user = ground.fresh_user();
    let restart = async |more: &[&str]| {
        let arguments = [&["restart", &image, "-o", "json", "--exclude-namespaces", &excluded], more].concat();
        ground.run_as(&user, &arguments).await
    };
    let rows = [
        ("web", "restarted", "runs_image"),
        ("agent", "restarted", "runs_image"),
        ("opted-out", "skipped", "opted_out"),
        ("on-delete", "skipped", "on_delete"),
        ("pinned", "skipped", "pinned_by_digest"),
        ("excluded", "skipped", "out_of_scope"),
    ];
    let dry = restart(&["--dry-run"]).await;
    assert_eq!((dry.code, codes(&dry.json()), &dry.json()["outcome"]), (0, expected(&rows), &json!("dry_run")));
    assert!(ground.api_calls(&user).iter().all(|call| ["get", "list"].contains(&call.verb.as_str())));

    let ran = restart(&[]).await;
    let answer = ran.json();
    assert_eq!((ran.code, codes(&answer), &answer["outcome"]), (0, expected(&rows), &json!("restarted")), "{answer}");
    assert_eq!((&answer["source"]["tier"], &answer["source"]["authoritative"]), (&json!("scan"), &json!(true)));
    for manifest in [&web, &agent] {
        was_restarted_by_hand(&ground, manifest).await;
    }
    for manifest in &left {
        assert_eq!(ground.generation(manifest).await, 1, "{manifest}");
    }

    // Where all are left, nothing was done, and that is no yes.
    let pinned_only = ground.image("pinned-only");
    ground.create(&deployment(namespace, "pinned-only", &format!("{pinned_only}@{}", digest(7)))).await;
    for more in [&[][..], &["--dry-run"]] {
        let ran = ground.run_as(&user, &[&["restart", &pinned_only][..], more].concat()).await;
        assert!(ran.code == 3 && ran.stdout.contains("skipped"), "{ran:?}");
        let ran = ground.run_as(&user, &[&["restart", &pinned_only, "-o", "name"][..], more].concat()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
        assert!(ran.stderr.contains("nothing is to be restarted: all who run the image are left"), "{ran:?}");
    }

    // Again: a person has reasons of their own.
    let ran = ground.run_as(&user, &["restart", &image, "--namespaces", namespace]).await;
    assert!(ran.code == 0 && ran.stdout.starts_with("NAMESPACE") && ran.stderr.contains("from the scan"), "{ran:?}");
    assert_eq!(ground.generation(&web).await, 3);
}

async fn restart_of_an_image_that_nobody_runs_says_no(ground: Ground) {
    let (user, image) = (ground.fresh_user(), ground.image("nobodys"));
    let ran = ground.run_as(&user, &["restart", &image]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("no workload runs {image}")), "{ran:?}");
    let ran = ground.run_as(&user, &["restart", &image, "-o", "json"]).await;
    assert_eq!((ran.code, &ran.json()["outcome"]), (3, &json!("not_in_use")), "{ran:?}");
}

/// A mount that lists one of two; and an API server that lets nobody list.
async fn restart_of_an_image_waits_for_the_proof(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let (old, young) = (deployment(namespace, "old", &image), deployment(namespace, "young", &image));
    for manifest in [&old, &young] {
        ground.create(manifest).await;
    }
    let mount = ground.directory().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let document = json!({"images": {&image: [{"name": "old", "namespace": namespace}]}});
    std::fs::write(mount.join("cache.json"), document.to_string()).unwrap();
    let rule = |request: ApiRequest| async move {
        let is_list = request.uri.contains("limit=");
        if is_list { Passage::Refuse(500, "the store is away") } else { Passage::Forward }
    };
    let proxy = ApiProxy::start(&ground, rule).await;
    let kubeconfig = proxy.kubeconfig().to_str().unwrap();
    let mounted = ["-n", namespace, "--cache-dir", mount.to_str().unwrap(), "restart", &image];
    let ran = run(&[&["--kubeconfig", kubeconfig], &mounted[..]].concat()).await;
    let message = ran.failed_with_one_sentence();
    assert!(message.contains("nothing was restarted") && message.contains("the store is away"), "{message}");
    assert_eq!(ground.generation(&old).await, 1);

    let ran = ground.run_as(&ground.fresh_user(), &mounted[2..]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for manifest in [&old, &young] {
        was_restarted_by_hand(&ground, manifest).await;
    }
}

async fn restart_takes_what_lookup_prints(ground: Ground) {
    let (namespace, image, user) = (ground.namespace(), ground.image("web"), ground.fresh_user());
    let kinds: [(Value, &[&str]); 3] = [
        (deployment(namespace, "web", &image), &["deploy", "Deployment", "deployments", "deployment.apps"]),
        (stateful_set(namespace, "db", &image), &["sts", "StatefulSet"]),
        (daemon_set(namespace, "agent", &image), &["ds", "daemonsets.apps"]),
    ];
    for (manifest, _) in &kinds {
        ground.create(manifest).await;
    }
    let names = ground.run_as(&user, &["lookup", &image, "-o", "name"]).await.stdout;
    assert_eq!(names.lines().count(), 3, "{names}");
    for name in names.lines() {
        let ran = ground.run_as(&user, &["restart", "-w", name, "-o", "name"]).await;
        assert_eq!((ran.code, ran.stdout), (0, format!("{name}\n")), "{}", ran.stderr);
    }
    for (manifest, spellings) in &kinds {
        was_restarted_by_hand(&ground, manifest).await;
        for (number, kind) in spellings.iter().enumerate() {
            let ran = ground.run_as(&user, &["restart", "--workload", &name_of(manifest, kind)]).await;
            assert_eq!(ran.code, 0, "{kind}: {ran:?}");
            assert_eq!(ground.generation(manifest).await, 3 + i64::try_from(number).unwrap(), "{kind}");
        }
    }
}

async fn what_is_named_is_restarted_whatever_it_says(ground: Ground) {
    let (namespace, image, user) = (ground.namespace(), ground.image("web"), ground.fresh_user());
    let changed = |name: &str, change: fn(&mut Value)| {
        let mut workload = stateful_set(namespace, name, &image);
        change(&mut workload);
        workload
    };
    let rows = [
        (changed("plain", |_| {}), json!(null), "named"),
        (
            changed("opted-out", |w| w["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"})),
            json!(["opted_out"]),
            "is \"false\"; restarted all the same",
        ),
        (
            changed("on-delete", |w| w["spec"]["updateStrategy"] = json!({"type": "OnDelete"})),
            json!(["on_delete"]),
            "delete its pods",
        ),
        (changed("none", |w| w["spec"]["replicas"] = json!(0)), json!(["zero_replicas"]), "no replicas"),
    ];
    let mut arguments = vec!["restart".to_owned(), "-o".to_owned(), "json".to_owned()];
    for (manifest, ..) in &rows {
        ground.create(manifest).await;
        // Twice: once is meant.
        arguments.extend(["-w", "-w"].into_iter().flat_map(|flag| [flag.to_owned(), name_of(manifest, "sts")]));
    }
    let missing = format!("{namespace}/deployment/missing");
    arguments.extend(["-w".to_owned(), missing]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let dry = ground.run_as(&user, &[&arguments[..], &["--dry-run"]].concat()).await;
    let ran = ground.run_as(&user, &arguments).await;
    assert_eq!((dry.code, ran.code), (1, 1), "{ran:?}");
    let answer = ran.json();
    assert_eq!(dry.json()["workloads"], answer["workloads"], "a dry run says what is done");
    for (manifest, warnings, reason) in &rows {
        let result = result_of(&answer, manifest);
        assert_eq!((&result["code"], &result["warnings"]), (&json!("named"), warnings), "{result}");
        assert!(result["reason"].as_str().unwrap().contains(reason), "{result}");
        was_restarted_by_hand(&ground, manifest).await;
    }
    let result = result_of(&answer, &deployment(namespace, "missing", &image));
    assert_eq!((&result["action"], &result["code"]), (&json!("failed"), &json!("not_found")), "{result}");

    // What a push may not touch, a person may: with a word about it.
    let plain = name_of(&rows[0].0, "sts");
    let ran = ground.run_as(&user, &["restart", "-w", &plain, "-o", "json", "--namespaces", "elsewhere"]).await;
    assert_eq!((ran.code, &ran.json()["workloads"][0]["warnings"]), (0, &json!(["out_of_scope"])), "{ran:?}");
}

async fn a_restart_by_hand_looks_again_after_an_edit(ground: Ground) {
    let web = deployment(ground.namespace(), "web", &ground.image("web"));
    ground.create(&web).await;
    let (first, hands, edited) = (once(), ground.clone(), web.clone());
    let rule = move |request: ApiRequest| {
        let (first, hands, edited) = (first.clone(), hands.clone(), edited.clone());
        async move {
            if request.is_patch() && first() {
                let annotate = json!({"spec": {"template": {"metadata": {"annotations": {"someone": "was here"}}}}});
                hands.patch(&edited, "someone", annotate).await;
            }
            Passage::Forward
        }
    };
    let proxy = ApiProxy::start(&ground, rule).await;
    let kubeconfig = proxy.kubeconfig().to_str().unwrap();
    let ran = run(&["--kubeconfig", kubeconfig, "restart", "-w", &name_of(&web, "deployment")]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let annotations = template_annotations(&ground, &web).await;
    assert!(annotations["someone"] == "was here" && annotations[RESTARTED_AT].is_string(), "{annotations}");
    let calls = ground.api_calls(&proxy.user);
    let verbs: Vec<_> = calls.iter().map(|call| call.verb.as_str()).collect();
    assert!(verbs.starts_with(&["get", "patch", "get", "patch"]), "the first write is refused: {verbs:?}");
}

async fn a_push_from_before_a_restart_by_hand_is_done(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let ran = ground.run_as(&ground.fresh_user(), &["restart", &image]).await;
    assert_eq!(ran.code, 0, "{ran:?}");

    let before =
        PushMessage { published: Timestamp::now() - SignedDuration::from_mins(5), ..PushMessage::now(&image, 1) };
    let result = result_of(&service.push(&before).await.json(), &web);
    assert_eq!(result["code"], "restarted_by_other", "{result}");
    assert!(result["reason"].as_str().unwrap().contains("pushroll-cli"), "{result}");
    was_restarted_by_hand(&ground, &web).await;

    let result = result_of(&service.push(&PushMessage::now(&image, 1)).await.json(), &web);
    assert_eq!((&result["action"], ground.generation(&web).await), (&json!("restarted"), 3), "{result}");
}

async fn a_restart_by_hand_leaves_the_record_alone(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 1);
    assert_eq!(service.push(&push).await.json()["outcome"], "restarted");
    let record = template_annotations(&ground, &web).await[RECORD].clone();
    assert!(record.is_string());

    let ran = ground.run_as(&ground.fresh_user(), &["restart", "-w", &name_of(&web, "deploy")]).await;
    assert_eq!((ran.code, ground.generation(&web).await), (0, 3), "{ran:?}");
    assert_eq!(template_annotations(&ground, &web).await[RECORD], record);
    let code = async |push: &PushMessage| result_of(&service.push(push).await.json(), &web)["code"].clone();
    assert_eq!(code(&push).await, "already_restarted", "a redelivery");
    // The pods may have pulled something else than the record says.
    assert_eq!(code(&PushMessage::now(&image, 1)).await, "runs_image", "the same digest, published again");
    assert_eq!(ground.generation(&web).await, 4);
}
