//! Freshness: what a hit names is restarted at once, the answer waits for the proof, and nothing is missed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::documents::{document, names, scanned_document};
use crate::support::fixtures::{PushMessage, config_map, deployment, stateful_set, without_pods};
use crate::support::ground::Ground;
use crate::support::in_process::InProcess;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_workload_younger_than_the_index_is_found);
    suite.on_both(a_hit_is_restarted_while_its_answer_waits);
    suite.on_both(an_answer_waits_no_longer_than_hold);
    suite.on_control_plane(a_scan_that_is_forbidden_is_a_503_that_says_why);
    suite.on_both(a_miss_on_a_proven_index_is_final);
    suite.on_both(a_hit_on_a_proven_index_is_final);
    suite.on_both(a_document_of_narrower_scope_proves_nothing);
}

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// Published some minutes ago: the redelivery of a message that was nacked until now.
fn published_ago(minutes: i64, image: &str) -> PushMessage {
    PushMessage { published: ago(minutes), ..PushMessage::now(image, 1) }
}

async fn a_workload_younger_than_the_index_is_found(ground: Ground) {
    let cases = [(false, false), (false, true), (true, false), (true, true)];
    for (number, (on_mount, names_others)) in cases.into_iter().enumerate() {
        let what = format!("on the mount: {on_mount}, names others: {names_others}");
        let image = ground.image(&format!("web-{number}"));
        let old = deployment(ground.namespace(), &format!("old-{number}"), &image);
        let young = stateful_set(ground.namespace(), &format!("young-{number}"), &image);
        ground.create(&old).await;
        // As of just now, and of the whole cluster: as good as a stale document can look.
        let images: &[(&str, &[&Value])] = if names_others { &[(&image, &[&old])] } else { &[] };
        let stale = scanned_document(Timestamp::now(), None, images);
        let map = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &stale.to_string());
        let mut volume = ground.volume();
        volume.tear_down();
        if on_mount {
            volume.show(&stale);
        } else {
            ground.create(&map).await;
        }
        let service = ground.service().mount(volume.directory()).start_ready().await;
        assert_eq!(names(&service.lookup(&image).await).len(), usize::from(names_others), "{what}");

        ground.create(&young).await;
        let answer = service.push(&PushMessage::now(&image, 1)).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["outcome"], "restarted", "{what}: {answer}");
        assert_eq!(names(&answer).len(), 2, "{what}: {answer}");
        assert_eq!(answer["source"]["authoritative"], true, "{what}: {answer}");
        assert_eq!((ground.generation(&old).await, ground.generation(&young).await), (2, 2), "{what}");
        drop(service);
        if eventually("the map", async || Some(ground.cache_document().await)).await.is_some() {
            ground.delete(&map).await;
        }
    }
}

/// A service with an old document on its mount, whose LISTs wait until they are let go.
fn with_held_lists(ground: &Ground, document: &Value) -> (InProcess, watch::Sender<bool>) {
    let mut volume = ground.volume();
    volume.show(document);
    let (release, released) = watch::channel(false);
    let service = ground.service_in_process().mount(volume.directory()).before_call(move |_, uri| {
        let mut released = released.clone();
        async move {
            if uri.contains("?limit=") {
                drop(released.wait_for(|released| *released).await);
            }
        }
    });
    (service, release)
}

async fn a_hit_is_restarted_while_its_answer_waits(ground: Ground) {
    let image = ground.image("web");
    let (old, young) = (deployment(ground.namespace(), "old", &image), deployment(ground.namespace(), "young", &image));
    ground.create(&old).await;
    ground.create(&young).await;
    let (service, release) = with_held_lists(&ground, &document(&[(&image, &[&old])]));
    let service = Arc::new(service.start_ready().await);

    let (pushed, message) = (Arc::clone(&service), PushMessage::now(&image, 1));
    let push = tokio::spawn(async move { pushed.push(&message).await });
    eventually("what the hit names is restarted", async || (ground.generation(&old).await == 2).then_some(())).await;
    assert_eq!(service.metric("pushroll_held_pushes").await, 1.0);
    assert_eq!(service.status().await["held_pushes"], 1);
    assert!(!push.is_finished(), "the answer waits for the scan");
    assert_eq!(ground.generation(&young).await, 1);

    release.send_replace(true);
    let answer = push.await.unwrap().json();
    assert_eq!((&answer["outcome"], &answer["source"]["tier"]), (&json!("restarted"), &json!("scan")), "{answer}");
    assert_eq!(names(&answer), ["old", "young"]);
    assert_eq!((ground.generation(&old).await, ground.generation(&young).await), (2, 2));
    assert_eq!(service.metric("pushroll_held_pushes").await, 0.0);
}

async fn an_answer_waits_no_longer_than_hold(ground: Ground) {
    let image = ground.image("web");
    let (old, young) = (deployment(ground.namespace(), "old", &image), deployment(ground.namespace(), "young", &image));
    ground.create(&old).await;
    ground.create(&young).await;
    let (service, release) = with_held_lists(&ground, &document(&[(&image, &[&old])]));
    let service = service.configure(|config| config.delivery.hold = Duration::from_secs(3)).start_ready().await;

    let message = PushMessage::now(&image, 1);
    let first = service.push(&message).await;
    assert_eq!((first.status.as_u16(), first.headers["retry-after"].to_str().unwrap()), (503, "5"), "{}", first.text());
    let first = first.json();
    assert_eq!((&first["outcome"], &first["code"]), (&json!("failed"), &json!("not_proven")), "{first}");
    assert!(first["detail"].as_str().unwrap().contains("the next delivery finishes the job"), "{first}");
    assert_eq!((names(&first), &first["workloads"][0]["action"]), (vec!["old".to_owned()], &json!("restarted")));
    assert_eq!(first["source"]["authoritative"], false, "{first}");

    release.send_replace(true);
    let again = eventually("the next delivery finishes the job", async || {
        Some(service.push(&message).await).filter(|answer| answer.status == 200)
    });
    let again = again.await.json();
    assert_eq!(names(&again), ["old", "young"], "{again}");
    assert_eq!((ground.generation(&old).await, ground.generation(&young).await), (2, 2));
}

async fn a_scan_that_is_forbidden_is_a_503_that_says_why(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let user = ground.real().fresh_limited_user();
    let rules = json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    ]);
    allow(&ground, &user, rules).await;
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &[&web])]));
    let service = ground.service().user(&user).mount(volume.directory()).start_ready().await;

    let push = PushMessage::now(&image, 1);
    for _ in 0..2 {
        let answer = service.push(&push).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("cannot list resource"), "{detail}");
    }
    assert_eq!(ground.generation(&web).await, 2, "what the hit names is restarted, once for the one push");
    let error = service.status().await["tiers"]["scan"]["error"].to_string();
    assert!(error.contains("cannot list resource"), "{error}");
    let unknown = service.push(&PushMessage::now(&ground.image("unknown"), 1)).await;
    assert_eq!(unknown.status, 503, "a miss that is not proven is no answer: {}", unknown.text());
}

/// Permits `user` what these rules say, in the test's namespace.
pub async fn allow(ground: &Ground, user: &str, rules: Value) {
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", ground.namespace());
    let name = json!({"name": user});
    let role = json!({"metadata": name, "rules": rules});
    let binding = json!({
        "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    ground.request("POST", &format!("{rbac}/roles"), Some(role)).await.unwrap();
    ground.request("POST", &format!("{rbac}/rolebindings"), Some(binding)).await.unwrap();
    // The authorizer learns of it by a watch.
    let client = ground.client_as(user).await;
    eventually("the permission holds", async || {
        let uri = format!("/api/v1/namespaces/{}/configmaps/none", ground.namespace());
        let request = http::Request::get(uri).body(Vec::new()).unwrap();
        let answer = client.request::<Value>(request).await;
        matches!(answer, Err(kube::Error::Api(status)) if status.code == 404).then_some(())
    })
    .await;
}

/// A message that comes as soon as it is published shows that the service's clock is not ahead of Pub/Sub's.
async fn vouch_for_the_clock(service: &Service) {
    let empty = json!({"message": {"messageId": "0", "publishTime": Timestamp::now().to_string()}});
    assert_eq!(service.deliver(&[], empty.to_string()).await.json()["outcome"], "ignored");
}

async fn a_miss_on_a_proven_index_is_final(ground: Ground) {
    // Where the proof fails, a push would have to wait for an hour.
    let arguments = ["--rebuild-interval", "1h", "--hold", "50s"];
    let mut volume = ground.volume();
    let service = ground.service().arguments(arguments).mount(volume.directory()).start_ready().await;
    eventually("the start is over", async || ground.cache_document().await).await;
    vouch_for_the_clock(&service).await;
    let before = service.api_calls();

    let answer = service.push(&published_ago(5, &ground.image("unknown"))).await.json();
    assert_eq!((&answer["outcome"], &answer["source"]["tier"]), (&json!("not_in_use"), &json!("scan")), "{answer}");
    assert_eq!(answer["source"]["authoritative"], true, "{answer}");

    // The same of a document that another has written, of all namespaces or of more than ours.
    volume.show(&scanned_document(Timestamp::now(), None, &[]));
    service.wait_for_status("the mount is loaded", |status| status["index"]["tier"] == "mount").await;
    let answer = service.push(&published_ago(5, &ground.image("unknown"))).await.json();
    assert_eq!((&answer["outcome"], &answer["source"]["tier"]), (&json!("not_in_use"), &json!("mount")), "{answer}");
    assert_eq!(answer["source"]["authoritative"], true, "{answer}");
    assert_eq!(service.api_calls(), before);
}

async fn a_hit_on_a_proven_index_is_final(ground: Ground) {
    let image = ground.image("web");
    let web = without_pods(deployment(ground.namespace(), "web", &image));
    ground.create(&web).await;
    let arguments = ["--rebuild-interval", "1h", "--hold", "50s"];
    let service = ground.service().arguments(arguments).start_ready().await;
    eventually("the start is over", async || ground.cache_document().await).await;
    vouch_for_the_clock(&service).await;
    let before = service.api_calls().len();
    let answer = service.push(&published_ago(5, &image)).await.json();
    assert_eq!((&answer["outcome"], &answer["source"]["authoritative"]), (&json!("restarted"), &json!(true)));
    // Each once or, where a controller writes its status in between, again: a set.
    let calls: BTreeSet<_> = service.api_calls()[before..].iter().map(|call| call.verb.clone()).collect();
    // The push is older than `--clock-margin`, so the pods are listed as well.
    assert_eq!(calls, ["get", "list", "patch"].map(str::to_owned).into());
}

async fn a_document_of_narrower_scope_proves_nothing(ground: Ground) {
    let outside = ground.another_namespace("b").await;
    let both = format!("{},{outside}", ground.namespace());
    let (narrow, exact) = ([ground.namespace()], [ground.namespace(), &outside]);
    let wide = [ground.namespace(), &outside, "default"];
    let cases = [
        ("no head", None, false),
        ("narrower", Some(Some(&narrow[..])), false),
        ("the same", Some(Some(&exact)), true),
        ("wider", Some(Some(&wide)), true),
        ("whole", Some(None), true),
    ];
    for (number, (what, scope, proves)) in cases.into_iter().enumerate() {
        let mut stored = document(&[]);
        if let Some(scope) = scope {
            stored = scanned_document(Timestamp::now(), scope, &[]);
        }
        let map = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &stored.to_string());
        ground.create(&map).await;
        let mut volume = ground.volume();
        volume.show(&stored);
        let service = ground.service().arguments(["--namespaces", &both]).mount(volume.directory()).start_ready().await;

        let image = ground.image(&format!("web-{number}"));
        let web = without_pods(deployment(&outside, &format!("web-{number}"), &image));
        ground.create(&web).await;
        vouch_for_the_clock(&service).await;
        let answer = service.push(&published_ago(5, &image)).await.json();
        assert_eq!(answer["source"]["authoritative"], true, "{what}: {answer}");
        let (outcome, tier) = if proves { ("not_in_use", "configmap") } else { ("restarted", "scan") };
        assert_eq!(
            (&answer["outcome"], &answer["source"]["tier"]),
            (&json!(outcome), &json!(tier)),
            "{what}: {answer}"
        );
        ground.delete(&map).await;
    }
}
