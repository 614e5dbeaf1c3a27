//! `kubectl rollout undo` while a push waits. It puts an older pod template back, and of a Deployment the annotations of
//! that ReplicaSet; pods from before the push may still be alive.

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::kubectl::kubectl_name;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{entries, push, record, replica};

pub(super) fn tests(suite: &mut Suite) {
    suite.on_both(a_push_that_waits_outlives_an_undo);
    suite.on_both(what_waits_is_not_on_the_workload);
}

/// The real kubectl, and on the embedded API what it does: the template and the annotations of `before`.
async fn undo(ground: &Ground, workload: &Value, before: &Value) {
    if ground.is_control_plane() {
        ground.observed(workload).await;
        ground.kubectl(&["rollout", "undo", &kubectl_name(workload)]).await;
        return;
    }
    let annotations = |object: &Value| object["spec"]["template"]["metadata"]["annotations"].clone();
    let mut put_back = annotations(before);
    for key in ["kubectl.kubernetes.io/restartedAt", "pushroll.dev/pushes"] {
        if put_back[key].is_null() {
            put_back[key] = Value::Null;
        }
    }
    let edit = json!({"spec": {"template": {"metadata": {"annotations": put_back}}}});
    ground.patch(workload, "kubectl", edit).await;
}

async fn a_push_that_waits_outlives_an_undo(ground: Ground) {
    let of_kinds: [fn(&str, &str, &str) -> Value; 3] = [deployment, stateful_set, daemon_set];
    let service = replica(&ground).await;
    for kind in of_kinds {
        let image = ground.image("web");
        let mut workload = kind(ground.namespace(), "web", &image);
        workload["metadata"]["annotations"]["pushroll.dev/cooldown"] = json!("1h");
        let created = ground.create(&workload).await;
        if ground.is_control_plane() {
            ground.observed(&workload).await;
        }
        let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
        assert_eq!(push(&service, &first, &workload).await["action"], "restarted");
        assert_eq!(push(&service, &second, &workload).await["action"], "deferred");
        undo(&ground, &workload, &created).await;
        // The last restart is not ours any more, so there is no cooldown.
        eventually("nothing waits", async || entries(&ground, "push.").await.is_empty().then_some(())).await;
        assert_eq!(record(&ground.get(&workload).await)[&image]["message_id"], second.id);
        assert_eq!(ground.generation(&workload).await, 4);
        ground.delete(&workload).await;
    }
}

/// Who owns the workload may do with its metadata what they like.
async fn what_waits_is_not_on_the_workload(ground: Ground) {
    let image = ground.image("web");
    let mut web = deployment(ground.namespace(), "web", &image);
    web["metadata"]["annotations"]["pushroll.dev/cooldown"] = json!("1h");
    ground.create(&web).await;
    let service = replica(&ground).await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(push(&service, &first, &web).await["action"], "restarted");
    let before = ground.get(&web).await;
    assert_eq!(push(&service, &second, &web).await["action"], "deferred");
    let after = ground.get(&web).await;
    for field in ["annotations", "generation"] {
        assert_eq!(before["metadata"][field], after["metadata"][field]);
    }
    // The label by which the first rollout is followed may go meanwhile.
    let labels = |object: &Value| {
        let labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.into_iter().filter(|(key, _)| key != "pushroll.dev/following").collect::<Vec<_>>()
    };
    assert_eq!(labels(&before), labels(&after));
    // All of its annotations go, the cooldown with them.
    ground.patch(&web, "owner", json!({"metadata": {"annotations": null}})).await;
    eventually("nothing waits", async || entries(&ground, "push.").await.is_empty().then_some(())).await;
    assert_eq!(record(&ground.get(&web).await)[&image]["message_id"], second.id);
}
