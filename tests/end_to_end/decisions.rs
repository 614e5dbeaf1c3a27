//! Who is not restarted, and why: the index says that it runs the image, a fresh look says otherwise.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, config_map, daemon_set, deployment, digest, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

pub fn tests(suite: &mut Suite) {
    suite.on_both(what_a_stale_index_names_is_looked_at_and_left_alone);
    suite.on_both(a_workload_out_of_scope_is_not_restarted);
    suite.on_both(a_namespace_out_of_scope_is_not_even_looked_at);
    suite.on_control_plane(a_workload_that_is_being_deleted_is_gone);
    suite.on_both(what_someone_else_restarted_since_the_push_is_current);
    suite.on_embedded(clocks_that_disagree_prove_no_restart_by_others);
}

/// A change between the scan and the push.
enum Change {
    Patch(Value),
    Delete,
}

async fn what_a_stale_index_names_is_looked_at_and_left_alone(ground: Ground) {
    let (namespace, image) = (ground.namespace().to_owned(), ground.image("web"));
    let (repository, _) = image.rsplit_once(':').unwrap();
    let runs = |image: &str, policy: &str| {
        let containers = json!([{"name": "main", "image": image, "imagePullPolicy": policy}]);
        Change::Patch(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
    };
    let annotated = |value: &str| Change::Patch(json!({"metadata": {"annotations": {"pushroll.dev/restart": value}}}));
    let on_delete = || Change::Patch(json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}));
    let pinned = format!("{repository}@{}", digest(0xbb));
    let tagged_and_pinned = format!("{image}@{}", digest(0xbb));
    let of = |name| deployment(&namespace, name, &image);
    let cases = [
        (of("other-tag"), runs(&format!("{repository}:2"), "Always"), "image_changed", "does not run"),
        (of("other-image"), runs("registry.example/other:1", "Always"), "image_changed", "any more"),
        (of("pinned"), runs(&pinned, "Always"), "pinned_by_digest", "a digest does not move with a tag"),
        (of("tagged-and-pinned"), runs(&tagged_and_pinned, "Always"), "pinned_by_digest", "a digest does not move"),
        (of("opted-out"), annotated("false"), "opted_out", "its annotation pushroll.dev/restart is \"false\""),
        (of("opted-somehow"), annotated("maybe"), "opted_out", "neither \"true\" nor \"false\""),
        (of("gone"), Change::Delete, "gone", "does not exist any more"),
        (of("never-pulls"), runs(&image, "Never"), "never_pulls", "a restart pulls nothing"),
        (stateful_set(&namespace, "by-hand", &image), on_delete(), "on_delete", "OnDelete: a restart replaces no pod"),
        (daemon_set(&namespace, "by-hand", &image), on_delete(), "on_delete", "delete its pods to update them"),
    ];
    let control = of("control");
    ground.create(&control).await;
    for (workload, ..) in &cases {
        ground.create(workload).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    for (workload, change, ..) in &cases {
        match change {
            Change::Patch(patch) => drop(ground.patch(workload, "someone", patch.clone()).await),
            Change::Delete => ground.delete(workload).await,
        }
    }
    if ground.is_control_plane() {
        // Until then a push waits, because an undo would keep the old pods.
        for (workload, ..) in cases.iter().filter(|(.., code, _)| ["image_changed", "pinned_by_digest"].contains(code))
        {
            ground.rolled_out(workload).await;
        }
    }
    let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(result_of(&answer.json(), &control)["action"], "restarted");
    for (workload, change, code, sentence) in &cases {
        let result = result_of(&answer.json(), workload);
        assert_eq!((&result["action"], &result["code"]), (&json!("skipped"), &json!(code)), "{result}");
        assert!(result["reason"].as_str().unwrap().contains(sentence), "{result}");
        if let Change::Patch(_) = change {
            let annotations = ground.get(workload).await["spec"]["template"]["metadata"]["annotations"].clone();
            assert_eq!(annotations, json!(null), "{result}");
        }
    }
    assert_eq!(service.patched(), ["control"]);
}

async fn a_workload_out_of_scope_is_not_restarted(ground: Ground) {
    let image = ground.image("web");
    let mut opted_in = deployment(ground.namespace(), "opted-in", &image);
    opted_in["metadata"]["annotations"] = json!({"pushroll.dev/restart": "true"});
    let mut labelled = deployment(ground.namespace(), "labelled", &image);
    labelled["metadata"]["labels"] = json!({"tier": "front"});
    // The pods' own labels are not the workload's.
    labelled["spec"]["template"]["metadata"]["labels"]["tier"] = json!("back");
    for workload in [&opted_in, &labelled] {
        ground.create(workload).await;
    }
    let cases = [
        (
            ["--hold", "60s", "--opt-in"],
            &opted_in,
            &labelled,
            "--opt-in is on, and it has no annotation pushroll.dev/restart",
        ),
        (
            ["--hold", "60s", "--selector=tier in (front, edge)"],
            &labelled,
            &opted_in,
            "its labels do not match --selector tier in",
        ),
    ];
    for (number, (arguments, touched, left, sentence)) in (1..).zip(cases) {
        let service = ground.service().arguments(arguments).start_ready().await;
        let answer = service.push(&PushMessage::now(&image, number)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
        assert_eq!(result_of(&answer.json(), touched)["action"], "restarted");
        let result = result_of(&answer.json(), left);
        assert_eq!((&result["action"], &result["code"]), (&json!("skipped"), &json!("out_of_scope")), "{result}");
        assert!(result["reason"].as_str().unwrap().contains(sentence), "{result}");
        assert_eq!(service.patched(), [touched["metadata"]["name"].as_str().unwrap()]);
    }
    // The only one that runs it is out of scope: all of them are skipped.
    let service = ground.service().arguments(["--hold", "60s", "--selector", "tier=none"]).start_ready().await;
    let answer = service.push(&PushMessage::now(&image, 3)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("skipped")), "{}", answer.text());
}

/// The ConfigMap names a workload of another namespace, as a document of a wider scope would.
async fn a_namespace_out_of_scope_is_not_even_looked_at(ground: Ground) {
    let (here, image) = (ground.namespace().to_owned(), ground.image("web"));
    let there = ground.another_namespace("there").await;
    let (mine, theirs) = (deployment(&here, "web", &image), deployment(&there, "web", &image));
    ground.create(&mine).await;
    ground.create(&theirs).await;
    let entries = json!([{"name": "web", "namespace": here}, {"name": "web", "namespace": there}]);
    let document = json!({"images": {(image.as_str()): entries}}).to_string();
    let cases = [
        (["--namespaces", &here], format!("its namespace {there} is not one of --namespaces")),
        (["--exclude-namespaces", &there], format!("its namespace {there} is excluded by --exclude-namespaces")),
    ];
    for (number, (arguments, sentence)) in (1..).zip(cases) {
        let cache = config_map(&here, "deployment-image-cache", "cache.json", &document);
        ground.create(&cache).await;
        let service = ground.service().arguments(["--hold", "60s"]).arguments(arguments).start_ready().await;
        let answer = service.push(&PushMessage::now(&image, number)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
        assert_eq!(result_of(&answer.json(), &mine)["action"], "restarted");
        let result = result_of(&answer.json(), &theirs);
        assert_eq!((&result["action"], &result["code"]), (&json!("skipped"), &json!("out_of_scope")), "{result}");
        assert_eq!(result["reason"], sentence);
        let there_calls: Vec<_> =
            service.api_calls().into_iter().filter(|call| call.namespace.as_deref() == Some(&there)).collect();
        assert_eq!(there_calls, []);
        ground.delete(&cache).await;
    }
    assert_eq!(ground.generation(&theirs).await, 1);
}

async fn a_workload_that_is_being_deleted_is_gone(ground: Ground) {
    let image = ground.image("web");
    let mut web = deployment(ground.namespace(), "web", &image);
    web["metadata"]["finalizers"] = json!(["example.com/kept"]);
    ground.create(&web).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    ground.delete(&web).await;
    let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("skipped")), "{}", answer.text());
    let result = result_of(&answer.json(), &web);
    assert_eq!((&result["code"], &result["reason"]), (&json!("gone"), &json!("it is being deleted")), "{result}");
    assert_eq!(service.patched(), [""; 0]);
    ground.patch(&web, "someone", json!({"metadata": {"finalizers": null}})).await;
}

/// Both the value of `restartedAt` (some client's clock) and the API server's own time must be later than the push.
async fn what_someone_else_restarted_since_the_push_is_current(ground: Ground) {
    let image = ground.image("web");
    let now = Timestamp::now();
    let published = now - SignedDuration::from_secs(60);
    let cases = [
        ("since-the-push", now, "current", "restarted_by_other"),
        ("with-a-clock-ahead", now + SignedDuration::from_hours(1), "current", "restarted_by_other"),
        ("before-the-push", published - SignedDuration::from_hours(1), "restarted", "runs_image"),
        ("within-the-margin", published + SignedDuration::from_secs(9), "restarted", "runs_image"),
    ];
    let of = |name| deployment(ground.namespace(), name, &image);
    for (name, restarted_at, ..) in cases {
        ground.create(&of(name)).await;
        ground.patch(&of(name), "kubectl-rollout", restarted_at_patch(restarted_at)).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let answer = service.push(&PushMessage { published, ..PushMessage::now(&image, 0xaa) }).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (name, _, action, code) in cases {
        let result = result_of(&answer.json(), &of(name));
        assert_eq!((&result["action"], &result["code"]), (&json!(action), &json!(code)), "{result}");
        if action == "current" {
            assert!(result["reason"].as_str().unwrap().contains("kubectl-rollout restarted it at"), "{result}");
        }
    }
    assert_eq!(service.patched(), ["before-the-push", "within-the-margin"]);
}

async fn clocks_that_disagree_prove_no_restart_by_others(ground: Ground) {
    for (number, minutes) in [(1, 5), (2, -5)] {
        ground.embedded_kubernetes().set_clock_offset(SignedDuration::from_mins(minutes));
        let image = ground.image(&format!("web-{number}"));
        let web = deployment(ground.namespace(), &format!("web-{number}"), &image);
        ground.create(&web).await;
        let now = Timestamp::now();
        ground.patch(&web, "kubectl-rollout", restarted_at_patch(now)).await;
        let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
        let published = now - SignedDuration::from_secs(60);
        let answer = service.push(&PushMessage { published, ..PushMessage::now(&image, number) }).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
    }
}

fn restarted_at_patch(time: Timestamp) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: format!("{time:.0}")}}}}})
}
