//! Refused: by an admission policy (the push waits), by RBAC or for a moment (it comes again). Either way the others are
//! restarted. `waiting/refusals.rs` has what becomes of a push that waits.

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const MESSAGE: &str = "frozen by the release team";

pub fn tests(suite: &mut Suite) {
    suite.on_both(what_an_admission_policy_refuses_is_said_and_waits);
    suite.on_embedded(each_passing_refusal_of_the_api_server_comes_again);
    suite.on_control_plane(what_rbac_forbids_comes_again_and_names_the_permission);
}

async fn what_an_admission_policy_refuses_is_said_and_waits(ground: Ground) {
    let image = ground.image("web");
    let refused = deployment(ground.namespace(), "refused", &image);
    let others = [stateful_set(ground.namespace(), "other", &image), daemon_set(ground.namespace(), "other", &image)];
    for workload in others.iter().chain([&refused]) {
        ground.create(workload).await;
    }
    freeze(&ground, &refused).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;

    let push = PushMessage::now(&image, 0xaa);
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    let result = result_of(&answer.json(), &refused);
    assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("denied")), "{result}");
    assert!(result["reason"].as_str().unwrap().contains(MESSAGE), "{result}");
    for other in &others {
        assert_eq!(result_of(&answer.json(), other)["action"], "restarted");
        assert_eq!(ground.generation(other).await, 2);
    }
    assert_eq!(ground.generation(&refused).await, 1);
    let attempts = service.patches().iter().filter(|name| *name == "refused").count();
    assert!(attempts == 1 || ground.is_control_plane(), "it is not tried again and again: {attempts}");

    let event = eventually("an Event says so", async || events(&ground).await.into_iter().next()).await;
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("RestartDenied")), "{event}");
    assert_eq!((&event["reportingController"], &event["action"]), (&json!("pushroll"), &json!("Restart")), "{event}");
    let regarding = &event["regarding"];
    assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("Deployment"), &json!("refused")), "{event}");
    assert_eq!(regarding["uid"], ground.get(&refused).await["metadata"]["uid"], "{event}");
    let note = event["note"].as_str().unwrap();
    assert!(note.contains(&image) && note.contains(MESSAGE), "{note}");

    let metrics = get(&format!("{}/metrics", service.internal)).await.text();
    for line in [
        "pushroll_restarts_total{kind=\"Deployment\",action=\"deferred\"} 1",
        "pushroll_restarts_total{kind=\"StatefulSet\",action=\"restarted\"} 1",
        "pushroll_pushes_total{outcome=\"restarted\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // Delivered again: the same, and no further Event.
    let again = service.push(&push).await;
    assert_eq!((again.status.as_u16(), &again.json()["outcome"]), (200, &json!("deferred")), "{}", again.text());

    thaw(&ground, &refused).await;
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(ground.generation(&refused).await, 2);
    assert_eq!(events(&ground).await.len(), 1);
}

/// The Events that pushroll has written in the test's namespace.
async fn events(ground: &Ground) -> Vec<Value> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", ground.namespace());
    let list = ground.request("GET", &path, None).await.unwrap();
    let events = list["items"].as_array().unwrap().iter();
    events.filter(|event| event["reason"] == "RestartDenied").cloned().collect()
}

/// From now on nobody may change the workload's pod template.
async fn freeze(ground: &Ground, workload: &Value) {
    let name = workload["metadata"]["name"].as_str().unwrap();
    if !ground.is_control_plane() {
        return ground.embedded_kubernetes().deny(ground.namespace(), Some(name), MESSAGE);
    }
    let expression = format!("object.metadata.name != '{name}' || object.spec.template == oldObject.spec.template");
    let spec = json!({"validations": [{"expression": expression, "message": MESSAGE}]});
    let namespace = ground.namespace();
    ground.add_policy("validating", namespace, namespace, spec, json!({"validationActions": ["Deny"]})).await;
    eventually("the policy is in force", async || is_frozen(ground, workload).await.then_some(())).await;
}

async fn thaw(ground: &Ground, workload: &Value) {
    if !ground.is_control_plane() {
        return ground.embedded_kubernetes().lift_denials();
    }
    ground.remove_policy("validating", ground.namespace()).await;
    eventually("the policy is lifted", async || (!is_frozen(ground, workload).await).then_some(())).await;
}

async fn is_frozen(ground: &Ground, workload: &Value) -> bool {
    let edit = json!({"spec": {"template": {"metadata": {"annotations": {"is": "it frozen?"}}}}});
    ground.dry_run(workload, &edit).await.is_err()
}

async fn each_passing_refusal_of_the_api_server_comes_again(ground: Ground) {
    let rbac =
        r#"deployments.apps "web" is forbidden: User "u" cannot patch resource "deployments" in API group "apps""#;
    let cases = [
        (403, rbac, "forbidden"),
        (401, "Unauthorized", "forbidden"),
        (429, "too many requests", "too_busy"),
        (500, "failed calling webhook \"v.example\": connection refused", "api_error"),
        (503, "etcdserver: request timed out", "api_error"),
        (504, "request did not complete within the allotted timeout", "api_error"),
    ];
    for (number, (refusal, message, code)) in cases.into_iter().enumerate() {
        let image = ground.image(&format!("web-{number}"));
        let [web, other] =
            ["web", "other"].map(|name| deployment(ground.namespace(), &format!("{name}-{number}"), &image));
        ground.create(&web).await;
        ground.create(&other).await;
        let refuse = move |request: ApiRequest| async move {
            let is_refused = request.is_patch() && request.uri.contains("/web-");
            if is_refused { Passage::Refuse(refusal, message) } else { Passage::Forward }
        };
        let proxy = ApiProxy::start(&ground, refuse).await;
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
        let case = format!("{refusal} {message}: {}", answer.text());
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")), "{case}");
        assert!(answer.headers.contains_key("retry-after"), "{case}");
        let result = result_of(&answer.json(), &web);
        assert_eq!((&result["action"], &result["code"]), (&json!("failed"), &json!(code)), "{case}");
        assert!(result["reason"].as_str().unwrap().contains(message), "{case}");
        assert_eq!(result_of(&answer.json(), &other)["action"], "restarted", "{case}");
        assert_eq!((ground.generation(&web).await, ground.generation(&other).await), (1, 2), "{case}");
    }
}

/// The service may list everywhere; look, but not write, at `looks`; neither at `lists`; both in its own namespace.
async fn what_rbac_forbids_comes_again_and_names_the_permission(ground: Ground) {
    let (looks, lists) = (ground.another_namespace("looks").await, ground.another_namespace("lists").await);
    let image = ground.image("web");
    let [mine, looked_at, listed] =
        [ground.namespace(), &looks, &lists].map(|namespace| deployment(namespace, "web", &image));
    for workload in [&mine, &looked_at, &listed] {
        ground.create(workload).await;
    }
    let user = ground.real().fresh_limited_user();
    let workloads = json!(["deployments", "statefulsets", "daemonsets"]);
    let list = json!({"apiGroups": ["apps"], "resources": workloads, "verbs": ["list"]});
    let look = json!({"apiGroups": ["apps"], "resources": workloads, "verbs": ["get"]});
    let restart = json!({"apiGroups": ["apps"], "resources": workloads, "verbs": ["get", "patch"]});
    let cache = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update", "patch"]});
    permit(&ground, &user, None, json!([list])).await;
    permit(&ground, &user, Some(&looks), json!([look])).await;
    permit(&ground, &user, Some(ground.namespace()), json!([restart, cache])).await;
    for (namespace, verb) in [(ground.namespace(), "patch"), (looks.as_str(), "get"), (lists.as_str(), "list")] {
        eventually("RBAC is in force", async || may(&ground, &user, namespace, verb).await.then_some(())).await;
    }

    let service = ground.service().user(&user).arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")), "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
    assert_eq!(result_of(&answer.json(), &mine)["action"], "restarted");
    for (workload, verb) in [(&looked_at, "patch"), (&listed, "get")] {
        let result = result_of(&answer.json(), workload);
        assert_eq!((&result["action"], &result["code"]), (&json!("failed"), &json!("forbidden")), "{result}");
        let namespace = workload["metadata"]["namespace"].as_str().unwrap();
        let named = format!(
            "User \"{user}\" cannot {verb} resource \"deployments\" in API group \"apps\" in the namespace \"{namespace}\""
        );
        assert!(result["reason"].as_str().unwrap().contains(&named), "{result}");
    }
    assert!(answer.json()["detail"].as_str().unwrap().contains("cannot "), "{}", answer.text());

    // An operator mends it, and the next delivery finishes the job.
    for namespace in [&looks, &lists] {
        permit(&ground, &user, Some(namespace), json!([restart])).await;
        eventually("RBAC is in force", async || may(&ground, &user, namespace, "patch").await.then_some(())).await;
    }
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    for workload in [&mine, &looked_at, &listed] {
        assert_eq!(ground.generation(workload).await, 2);
    }
}

/// Lets a user do this in a namespace, or everywhere, beside what it may already.
async fn permit(ground: &Ground, user: &str, namespace: Option<&str>, rules: Value) {
    let prefix = if namespace.is_some() { "" } else { "cluster" };
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let within = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let base = format!("/apis/rbac.authorization.k8s.io/v1{within}/{prefix}role");
    let role = json!({"metadata": {"generateName": format!("{user}-")}, "rules": rules});
    let role = ground.request("POST", &format!("{base}s"), Some(role)).await.unwrap();
    let binding = json!({
        "metadata": {"generateName": format!("{user}-")},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        "roleRef": {"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": role["metadata"]["name"]},
    });
    ground.request("POST", &format!("{base}bindings"), Some(binding)).await.unwrap();
}

async fn may(ground: &Ground, user: &str, namespace: &str, verb: &str) -> bool {
    let attributes = json!({"namespace": namespace, "verb": verb, "group": "apps", "resource": "deployments"});
    let review = json!({"spec": {"user": user, "resourceAttributes": attributes}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    ground.request("POST", path, Some(review)).await.unwrap()["status"]["allowed"] == true
}
