//! Admission refuses a restart: with whatever code, by a webhook, a policy, a missing parameter or for a while. The push
//! is acknowledged, waits, and is done when the refusal is over.

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{entries, push, record, replica};

pub(super) fn tests(suite: &mut Suite) {
    suite.on_both(each_refusal_by_admission_waits_whatever_its_code);
    suite.on_both(what_is_refused_is_done_when_the_refusal_is_over);
    suite.on_both(a_replica_that_starts_later_does_what_waits);
    suite.on_embedded(many_refusals_of_one_push_are_one_write);
    suite.on_control_plane(a_policy_without_its_parameters_holds_a_push_up);
}

/// The answers of an API server to a PATCH, and what each means.
async fn each_refusal_by_admission_waits_whatever_its_code(ground: Ground) {
    let webhook = r#"admission webhook "teams.example" denied the request: no such team"#;
    let silent = r#"admission webhook "teams.example" denied the request without explanation"#;
    let policy = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied \
                  request: changes are frozen";
    let not_found = "deployments.apps \"web\" not found";
    let modified = "Operation cannot be fulfilled: the object has been modified";
    let invalid = "Deployment.apps \"web\" is invalid: spec.template.spec.containers[0].image: Required value";
    let quota = "deployments.apps \"web\" is forbidden: exceeded quota";
    let mut cases: Vec<(u16, &'static str)> = Vec::new();
    for code in [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504] {
        cases.extend([(code, webhook), (code, policy)]);
    }
    // A webhook's 404 or 409 may come without these words: the workload is there, and has not changed.
    cases.extend([(403, silent), (404, not_found), (409, modified), (422, invalid), (403, quota)]);
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    for (code, message) in cases {
        let refuse = move |request: ApiRequest| async move {
            if request.is_patch() { Passage::Refuse(code, message) } else { Passage::Forward }
        };
        let proxy = ApiProxy::start(&ground, refuse).await;
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        let message_of_push = PushMessage::now(&image, 0xaa);
        let answer = service.push(&message_of_push).await;
        let case = format!("{code} {message}: {}", answer.text());
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("deferred")), "{case}");
        let result = result_of(&answer.json(), &web);
        assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("denied")), "{case}");
        assert!(result["reason"].as_str().unwrap().contains(message), "{case}");
        let waits = entries(&ground, "push.").await;
        let is_it = |waits: &&Value| waits["message_id"] == message_of_push.id && waits["why"] == "denied";
        assert!(waits.iter().any(|waits| is_it(&waits)), "{case}: {waits:?}");
    }
    assert_eq!(ground.generation(&web).await, 1);
}

async fn what_is_refused_is_done_when_the_refusal_is_over(ground: Ground) {
    let image = ground.image("web");
    let of_kinds: [fn(&str, &str, &str) -> Value; 3] = [deployment, stateful_set, daemon_set];
    let workloads = of_kinds.map(|kind| kind(ground.namespace(), "web", &image));
    for workload in &workloads {
        ground.create(workload).await;
    }
    ground.deny_updates(&workloads[0], ground.namespace(), "frozen by the release team").await;
    let service = replica(&ground).await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    for message in [&first, &second, &first] {
        for workload in &workloads {
            let result = push(&service, message, workload).await;
            assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("denied")), "{result}");
            assert!(result["reason"].as_str().unwrap().contains("frozen by the release team"), "{result}");
        }
    }
    let waits = entries(&ground, "push.").await;
    assert_eq!(waits.len(), 3, "the newest for each workload: {waits:?}");
    assert!(waits.iter().all(|waits| waits["message_id"] == second.id), "{waits:?}");
    eventually("it is counted", async || {
        (service.metric("pushroll_waiting{why=\"denied\"}").await == 3.0).then_some(())
    })
    .await;

    ground.allow_updates(ground.namespace()).await;
    eventually("nothing waits", async || entries(&ground, "push.").await.is_empty().then_some(())).await;
    for workload in &workloads {
        let object = ground.get(workload).await;
        assert_eq!(
            (&record(&object)[&image]["message_id"], &object["metadata"]["generation"]),
            (&json!(second.id), &json!(2))
        );
        assert_eq!(push(&service, &second, workload).await["code"], "already_restarted");
        assert_eq!(push(&service, &first, workload).await["code"], "newer_push_done");
    }
}

async fn a_replica_that_starts_later_does_what_waits(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    ground.deny_updates(&web, ground.namespace(), "frozen").await;
    let message = PushMessage::now(&image, 0xa1);
    {
        let first = replica(&ground).await;
        assert_eq!(push(&first, &message, &web).await["code"], "denied");
    }
    ground.allow_updates(ground.namespace()).await;
    // The Lease of the first replica is still valid for a while. The other one waits for its end.
    let _replicas = [replica(&ground).await, replica(&ground).await];
    eventually("nothing waits", async || entries(&ground, "push.").await.is_empty().then_some(())).await;
    let object = ground.get(&web).await;
    assert_eq!(
        (&record(&object)[&image]["message_id"], &object["metadata"]["generation"]),
        (&json!(message.id), &json!(2))
    );
}

async fn many_refusals_of_one_push_are_one_write(ground: Ground) {
    let image = ground.image("web");
    let workloads = (0..40).map(|number| deployment(ground.namespace(), &format!("web-{number}"), &image));
    let workloads: Vec<Value> = workloads.collect();
    for workload in &workloads {
        ground.create(workload).await;
    }
    ground.deny_updates(&workloads[0], ground.namespace(), "frozen").await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let answer = service.push(&PushMessage::now(&image, 0xa1)).await.json();
    assert_eq!(answer["outcome"], "deferred", "{answer}");
    assert_eq!(entries(&ground, "push.").await.len(), 40);
    let writes = service.api_calls().into_iter();
    let writes: Vec<_> = writes
        .filter(|call| call.verb != "get" && call.uri.contains("/configmaps"))
        .filter(|call| !call.uri.contains("deployment-image-cache"))
        .collect();
    // A PATCH that finds no ConfigMap, and the create.
    assert!(writes.len() <= 3, "{writes:?}");
}

/// `cases/admission/missing-parameters.yaml`
async fn a_policy_without_its_parameters_holds_a_push_up(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let name = format!("{}-parameters", ground.namespace());
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "params.data.frozen != 'yes'", "message": "changes are frozen"}],
    });
    let binding = json!({
        "validationActions": ["Deny"],
        "paramRef": {"name": "release", "namespace": ground.namespace(), "parameterNotFoundAction": "Deny"},
    });
    ground.add_policy("validating", ground.namespace(), &name, spec, binding).await;
    let edit = json!({"metadata": {"labels": {"example.com/probe": "x"}}});
    eventually("the policy is in force", async || ground.dry_run(&web, &edit).await.is_err().then_some(())).await;
    let service = replica(&ground).await;
    let message = PushMessage::now(&image, 0xa1);
    let result = push(&service, &message, &web).await;
    assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("denied")), "{result}");

    let parameters = json!({"metadata": {"name": "release"}, "data": {"frozen": "no"}});
    let path = format!("/api/v1/namespaces/{}/configmaps", ground.namespace());
    ground.request("POST", &path, Some(parameters)).await.unwrap();
    eventually("nothing waits", async || entries(&ground, "push.").await.is_empty().then_some(())).await;
    assert_eq!(record(&ground.get(&web).await)[&image]["message_id"], message.id);
    assert_eq!(ground.generation(&web).await, 2);
}
