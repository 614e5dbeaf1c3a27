//! A deferral that ends without a restart of ours, or cannot be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{DEFERRED, at_its_end, is_marked, looks, push, record, replica, set_cooldown, with_cooldown};
use crate::support::fixtures::{PushMessage, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::kubectl::kubectl_name;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_both(what_ends_a_deferral_without_a_restart);
    suite.on_both(a_deferral_that_an_undo_brings_back_is_none);
    suite.on_both(a_push_that_may_not_wait_on_the_workload_comes_again);
    suite.on_both(a_due_restart_that_is_refused_for_good_waits_no_longer);
}

async fn what_ends_a_deferral_without_a_restart(ground: Ground) {
    let template = |change: Value| json!({"spec": {"template": change}});
    let restarted = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-20T10:00:00Z"}}});
    let other = json!([{"name": "main", "image": "registry.example/other:1", "imagePullPolicy": "Always"}]);
    let cases = [
        ("restarted", template(restarted), "restarted it since", true),
        ("other-image", template(json!({"spec": {"containers": other}})), "does not run", true),
        ("opted-out", json!({"metadata": {"annotations": {"pushroll.dev/restart": "false"}}}), "\"false\"", false),
        ("spoilt", json!({"metadata": {"annotations": {DEFERRED: "{"}}}), "deferred cannot be read", false),
        ("removed", json!({"metadata": {"annotations": {DEFERRED: null}}}), "deferred cannot be read", false),
    ];
    let service = replica(&ground).await;
    for (name, edit, said, rolls) in cases {
        let image = ground.image(name);
        let workload = with_cooldown(stateful_set(ground.namespace(), name, &image), "1h");
        ground.create(&workload).await;
        let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
        assert_eq!(push(&service, &first, &workload).await["action"], "restarted");
        assert_eq!(push(&service, &second, &workload).await["action"], "deferred", "{name}");
        ground.patch(&workload, "someone", edit).await;
        let object = at_its_end(&ground, &workload).await;
        assert_eq!(record(&object)[&image]["message_id"], first.id, "{name}");
        assert_eq!(object["metadata"]["generation"], 2 + i64::from(rolls), "{name}: not by us");
        let is_it = |line: &Value| {
            let is_of_it = line["workload"].as_str().is_some_and(|workload| workload.ends_with(&format!("/{name}")));
            is_of_it && line["message"].as_str().is_some_and(|message| message.contains(said))
        };
        eventually("the log says why", async || service.log().iter().any(is_it).then_some(())).await;
    }
}

/// `kubectl rollout undo` of a Deployment puts the annotations of the old ReplicaSet back, but no labels.
async fn a_deferral_that_an_undo_brings_back_is_none(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(deployment(ground.namespace(), "web", &image), "1h");
    ground.create(&web).await;
    let service = replica(&ground).await;
    let [first, second, third] = [0xa1, 0xa2, 0xa3].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    if ground.is_control_plane() {
        ground.observed(&web).await;
    }
    assert_eq!(push(&service, &second, &web).await["action"], "deferred");
    let waits = ground.get(&web).await;
    if ground.is_control_plane() {
        ground.observed(&web).await;
    }
    set_cooldown(&ground, &web, json!(null)).await;
    at_its_end(&ground, &web).await;
    undo(&ground, &web, &waits).await;
    let object = ground.get(&web).await;
    assert_eq!((is_marked(&object), &record(&object)[&image]["message_id"]), ((true, false), &json!(first.id)));

    let before = looks(&service);
    eventually("it has looked again, twice", async || (looks(&service) >= before + 9).then_some(())).await;
    let generation = ground.generation(&web).await;
    assert_eq!(object["metadata"]["generation"], generation, "nothing is done about it");
    set_cooldown(&ground, &web, json!(null)).await;
    assert_eq!(push(&service, &third, &web).await["action"], "restarted");
    let object = ground.get(&web).await;
    assert_eq!((is_marked(&object), &record(&object)[&image]["message_id"]), ((false, false), &json!(third.id)));
}

/// The real kubectl, and on the embedded API what it does: the pod template and the annotations of `before`.
async fn undo(ground: &Ground, web: &Value, before: &Value) {
    if ground.is_control_plane() {
        ground.observed(web).await;
        ground.kubectl(&["rollout", "undo", &kubectl_name(web)]).await;
        return;
    }
    let template = &before["spec"]["template"]["metadata"]["annotations"];
    let edit = json!({
        "metadata": {"annotations": before["metadata"]["annotations"]},
        "spec": {"template": {"metadata": {"annotations": template}}},
    });
    ground.patch(web, "kubectl-rollout", edit).await;
}

/// Refuses, as an admission policy does, what is written as this field manager once it is told to.
async fn refusing(ground: &Ground, field_manager: &str, refuses: &Arc<AtomicBool>) -> ApiProxy {
    let (written_as, refuses) = (format!("fieldManager={field_manager}"), Arc::clone(refuses));
    ApiProxy::start(ground, move |request| {
        let refused = request.is_patch() && request.uri.ends_with(&written_as) && refuses.load(Ordering::SeqCst);
        async move { if refused { Passage::Refuse(422, "denied by a policy") } else { Passage::Forward } }
    })
    .await
}

async fn a_push_that_may_not_wait_on_the_workload_comes_again(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(stateful_set(ground.namespace(), "web", &image), "1h");
    ground.create(&web).await;
    let proxy = refusing(&ground, "pushroll-deferred", &Arc::new(AtomicBool::new(true))).await;
    let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    let answer = service.push(&second).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")), "{}", answer.text());
    let result = result_of(&answer.json(), &web);
    let reason = result["reason"].as_str().unwrap();
    assert!(reason.contains("due at") && reason.contains("denied by a policy"), "{result}");
    set_cooldown(&ground, &web, json!(null)).await;
    assert_eq!(push(&service, &second, &web).await["action"], "restarted");
    assert_eq!(ground.generation(&web).await, 3);
}

async fn a_due_restart_that_is_refused_for_good_waits_no_longer(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(stateful_set(ground.namespace(), "web", &image), "1h");
    ground.create(&web).await;
    let refuses = Arc::new(AtomicBool::new(false));
    let proxy = refusing(&ground, "pushroll", &refuses).await;
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace(), "--deferred-poll", "50ms"];
    let service = ground.service().through(&proxy).arguments(arguments).start_ready().await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    assert_eq!(push(&service, &second, &web).await["action"], "deferred");
    refuses.store(true, Ordering::SeqCst);
    set_cooldown(&ground, &web, json!(null)).await;
    let object = at_its_end(&ground, &web).await;
    assert_eq!(
        (&record(&object)[&image]["message_id"], &object["metadata"]["generation"]),
        (&json!(first.id), &json!(2))
    );
    service.warned("denied by a policy").await;
    let failed = "pushroll_restarts_total{kind=\"StatefulSet\",action=\"failed\"}";
    assert_eq!(service.metric(failed).await, 1.0, "once, not at every look");
}
