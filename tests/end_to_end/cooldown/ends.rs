//! A deferral that ends without a restart of ours, or cannot be written.

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{at_its_end, set_cooldown, waiting, with_cooldown};
use crate::support::fixtures::{PushMessage, result_of, stateful_set, without_pods};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{push, record, replica};

pub(super) fn tests(suite: &mut Suite) {
    suite.on_both(what_ends_a_deferral_without_a_restart);
    suite.on_both(a_restart_by_hand_ends_a_deferral);
    suite.on_both(a_push_that_cannot_be_written_down_comes_again);
}

async fn what_ends_a_deferral_without_a_restart(ground: Ground) {
    let template = |change: Value| json!({"spec": {"template": change}});
    let other = json!([{"name": "main", "image": "registry.example/other:1", "imagePullPolicy": "Always"}]);
    let cases = [
        ("other-image", template(json!({"spec": {"containers": other}})), "does not run", true),
        ("opted-out", json!({"metadata": {"annotations": {"pushroll.dev/restart": "false"}}}), "\"false\"", false),
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

/// Someone restarts the workload after the push: its pods have pulled what was pushed.
async fn a_restart_by_hand_ends_a_deferral(ground: Ground) {
    let image = ground.image("web");
    // A pod from before the restart that is still there would be a reason for another one.
    let web = with_cooldown(without_pods(stateful_set(ground.namespace(), "web", &image)), "1h");
    ground.create(&web).await;
    let service = replica(&ground).await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    assert_eq!(push(&service, &second, &web).await["action"], "deferred");
    // Both clocks have a resolution of a second.
    let since: Timestamp = waiting(&ground, &web).await[&image]["since"].as_str().unwrap().parse().unwrap();
    eventually("a second has passed", async || (Timestamp::now().duration_since(since).as_secs() >= 2).then_some(()))
        .await;
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string();
    let restart = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}});
    ground.patch(&web, "kubectl-rollout", json!({"spec": {"template": restart}})).await;
    let object = at_its_end(&ground, &web).await;
    assert_eq!(record(&object)[&image]["message_id"], first.id);
    assert_eq!(object["metadata"]["generation"], 3, "not by us");
}

/// Refuses writes to paths that end like this.
async fn refusing(ground: &Ground, path: &'static str, code: u16, message: &'static str) -> ApiProxy {
    ApiProxy::start(ground, move |request| {
        let is_write = request.method != Method::GET;
        let refused = is_write && request.uri.split('?').next().is_some_and(|uri| uri.ends_with(path));
        async move { if refused { Passage::Refuse(code, message) } else { Passage::Forward } }
    })
    .await
}

/// Whatever keeps the push from being written down: it is left to Pub/Sub.
async fn a_push_that_cannot_be_written_down_comes_again(ground: Ground) {
    let too_long = "ConfigMap \"pushroll-waiting\" is invalid: []: Too long: may not be more than 1048576 bytes";
    let rbac = "configmaps \"pushroll-waiting\" is forbidden: User \"u\" cannot patch resource \"configmaps\"";
    for (name, code, message, said_code) in [
        ("full", 422, too_long, "api_error"),
        ("forbidden", 403, rbac, "forbidden"),
        ("denied", 403, "admission webhook \"v\" denied the request: no", "api_error"),
        ("away", 500, "etcdserver: no leader", "api_error"),
    ] {
        let image = ground.image(name);
        let web = with_cooldown(stateful_set(ground.namespace(), name, &image), "1h");
        ground.create(&web).await;
        let proxy = refusing(&ground, "/configmaps/pushroll-waiting", code, message).await;
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
        assert_eq!(push(&service, &first, &web).await["action"], "restarted");
        let answer = service.push(&second).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")), "{}", answer.text());
        let result = result_of(&answer.json(), &web);
        assert_eq!((&result["action"], &result["code"]), (&json!("failed"), &json!(said_code)), "{result}");
        let reason = result["reason"].as_str().unwrap();
        assert!(
            reason.contains("due at") && reason.contains(message) && reason.contains("pushroll-waiting"),
            "{result}"
        );
        set_cooldown(&ground, &web, json!(null)).await;
        assert_eq!(push(&service, &second, &web).await["action"], "restarted");
    }
}
