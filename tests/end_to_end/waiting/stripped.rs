//! Admission removes what we write. What the API server has stored says what came of a restart.

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{entries, find_record, push, record, replica};

pub(super) fn tests(suite: &mut Suite) {
    suite.on_control_plane(a_restart_whose_annotations_are_removed_waits);
    suite.on_control_plane(a_record_that_is_removed_is_kept_elsewhere);
}

/// A mutating policy for the Deployments of the test's namespace. Returns when it is in force.
async fn mutate(ground: &Ground, web: &Value, expression: &str) -> String {
    let name = format!("{}-strip", ground.namespace());
    let spec = json!({
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    });
    ground.add_policy("mutating", ground.namespace(), &name, spec, json!({})).await;
    let annotations = json!({"pushroll.dev/pushes": "{}"});
    let edit = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    eventually("the policy is in force", async || {
        let stored = ground.dry_run(web, &edit).await.unwrap();
        stored["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"].is_null().then_some(())
    })
    .await;
    name
}

/// `cases/admission/strip-annotations.yaml`
async fn a_restart_whose_annotations_are_removed_waits(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let strip = "has(object.spec.template.metadata.annotations) ? [JSONPatch{op: 'remove', path: \
                 '/spec/template/metadata/annotations'}] : []";
    let policy = mutate(&ground, &web, strip).await;
    let service = replica(&ground).await;
    let message = PushMessage::now(&image, 0xa1);
    for _ in 0..2 {
        let result = push(&service, &message, &web).await;
        assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("denied")), "{result}");
        assert!(result["reason"].as_str().unwrap().contains("removes them"), "{result}");
    }
    assert_eq!((entries(&ground, "push.").await.len(), ground.generation(&web).await), (1, 1));
    ground.remove_policy("mutating", &policy).await;
    eventually("nothing waits", async || entries(&ground, "push.").await.is_empty().then_some(())).await;
    assert_eq!(record(&ground.get(&web).await)[&image]["message_id"], message.id);
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_record_that_is_removed_is_kept_elsewhere(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let strip = "has(object.spec.template.metadata.annotations) && 'pushroll.dev/pushes' in \
                 object.spec.template.metadata.annotations ? [JSONPatch{op: 'remove', path: \
                 '/spec/template/metadata/annotations/pushroll.dev~1pushes'}] : []";
    mutate(&ground, &web, strip).await;
    // The second reads what the first has kept.
    let services = [replica(&ground).await, replica(&ground).await];
    let [older, first, second] = [0xa0, 0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    let result = push(&services[0], &first, &web).await;
    assert_eq!((&result["action"], &result["warnings"]), (&json!("restarted"), &json!(["record_removed"])), "{result}");
    assert_eq!((find_record(&ground.get(&web).await), ground.generation(&web).await), (None, 2));
    for service in &services {
        assert_eq!(push(service, &first, &web).await["code"], "already_restarted");
        assert_eq!(push(service, &older, &web).await["code"], "newer_push_done");
    }
    assert_eq!(ground.generation(&web).await, 2);
    assert_eq!(push(&services[1], &second, &web).await["action"], "restarted");
    for service in &services {
        assert_eq!(push(service, &second, &web).await["code"], "already_restarted");
        assert_eq!(push(service, &first, &web).await["code"], "newer_push_done");
    }
    assert_eq!((ground.generation(&web).await, entries(&ground, "record.").await.len()), (3, 1));
}
