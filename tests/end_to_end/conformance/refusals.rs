//! What is refused before the object itself is looked at, and in which words.

use serde_json::{Value, json};

use super::{assert_refused, every_kind};
use crate::support::fixtures::{collection, config_map, deployment};
use crate::support::ground::Ground;
use crate::support::kubernetes::{JSON, MERGE_PATCH};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(what_does_not_exist_is_not_found);
    suite.on_both(what_exists_is_not_created_again);
    suite.on_both(a_request_that_makes_no_sense_is_a_bad_request);
    suite.on_both(media_types_methods_and_sizes_are_limited);
}

/// Method, path under the namespace's Deployments, media type, body; code, reason, message.
pub(super) type Case<'a> = (&'a str, &'a str, &'a str, &'a str, u16, &'a str, &'a str);

pub(super) async fn assert_all_refused(ground: &Ground, cases: &[Case<'_>]) {
    let deployments = deployments(ground);
    for (method, path, media_type, body, code, reason, message) in cases {
        let answer = ground.ask(method, &format!("{deployments}{path}"), media_type, body.to_string()).await;
        let start: String = body.chars().take(80).collect();
        assert_refused(&format!("{method} {path} {media_type} {start}"), &answer, *code, reason, message);
    }
}

pub(super) fn deployments(ground: &Ground) -> String {
    collection(&web(ground))
}

pub(super) fn web(ground: &Ground) -> Value {
    deployment(ground.namespace(), "web", &ground.image("web"))
}

async fn what_does_not_exist_is_not_found(ground: Ground) {
    let nope = deployment(ground.namespace(), "nope", "nope").to_string();
    let not_found = r#"deployments.apps "nope" not found"#;
    assert_all_refused(
        &ground,
        &[
            ("GET", "/nope", "", "", 404, "NotFound", not_found),
            ("PATCH", "/nope", MERGE_PATCH, r#"{"spec": {"replicas": 1}}"#, 404, "NotFound", not_found),
            ("PUT", "/nope", JSON, &nope, 404, "NotFound", not_found),
            ("DELETE", "/nope", "", "", 404, "NotFound", not_found),
        ],
    )
    .await;
    for (kind, plural) in ["statefulsets.apps", "daemonsets.apps"].iter().zip(["statefulsets", "daemonsets"]) {
        let path = format!("/apis/apps/v1/namespaces/{}/{plural}/nope", ground.namespace());
        let answer = ground.ask("GET", &path, "", "").await;
        assert_refused(plural, &answer, 404, "NotFound", &format!("{kind} \"nope\" not found"));
    }
    let path = format!("/api/v1/namespaces/{}/configmaps/nope", ground.namespace());
    let answer = ground.ask("GET", &path, "", "").await;
    assert_refused("configmaps", &answer, 404, "NotFound", r#"configmaps "nope" not found"#);

    let nowhere = deployment("nowhere", "web", "web");
    let answer = ground.ask("POST", &collection(&nowhere), JSON, nowhere.to_string()).await;
    assert_refused("no such namespace", &answer, 404, "NotFound", r#"namespaces "nowhere" not found"#);

    let answer = ground.ask("GET", "/apis/apps/v1/namespaces/default/nopes", "", "").await;
    let no_such_resource = "the server could not find the requested resource";
    assert_refused("no such resource", &answer, 404, "NotFound", no_such_resource);
    for path in ["/nope", "/apis/nope.example/v1/namespaces/default/deployments"] {
        let answer = ground.ask("GET", path, "", "").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (404, "404 page not found\n"), "{path}");
    }
}

async fn what_exists_is_not_created_again(ground: Ground) {
    let namespace = ground.namespace();
    let cache = config_map(namespace, "cache", "key", "value");
    for (manifest, qualified) in every_kind(&ground).into_iter().chain([cache]).zip([
        "deployments.apps \"deployment\"",
        "statefulsets.apps \"statefulset\"",
        "daemonsets.apps \"daemonset\"",
        "configmaps \"cache\"",
    ]) {
        ground.create(&manifest).await;
        let answer = ground.ask("POST", &collection(&manifest), JSON, manifest.to_string()).await;
        assert_refused(qualified, &answer, 409, "AlreadyExists", &format!("{qualified} already exists"));
    }
    let body = json!({"metadata": {"name": namespace}}).to_string();
    let answer = ground.ask("POST", "/api/v1/namespaces", JSON, body).await;
    let message = format!("namespaces \"{namespace}\" already exists");
    assert_refused("the namespace", &answer, 409, "AlreadyExists", &message);
}

async fn a_request_that_makes_no_sense_is_a_bad_request(ground: Ground) {
    ground.create(&web(&ground)).await;
    let other_kind = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "web"}}).to_string();
    let other_version = json!({"kind": "Deployment", "apiVersion": "apps/v1beta1", "metadata": {"name": "web"}});
    let other_namespace = deployment("other", "web", "web").to_string();
    let wrong_type = json!({"metadata": {"name": "x"}, "spec": {"replicas": "three"}}).to_string();
    let unrecognized = "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; \
                        json parse error: ";
    let end_of_input = format!("{unrecognized}unexpected end of JSON input ({{)");
    let array = format!("{unrecognized}json: cannot unmarshal array into Go value of type struct …");
    assert_all_refused(
        &ground,
        &[
            ("POST", "", JSON, "{", 400, "BadRequest", &end_of_input),
            ("POST", "", JSON, "[]", 400, "BadRequest", &array),
            (
                "POST",
                "",
                JSON,
                &wrong_type,
                400,
                "BadRequest",
                r#"Deployment in version "v1" cannot be handled as a Deployment: …"#,
            ),
            (
                "POST",
                "",
                JSON,
                &other_kind,
                400,
                "BadRequest",
                "ConfigMap in version \"v1\" cannot be handled as a Deployment: converting (v1.ConfigMap) to \
              (apps.Deployment): unknown conversion",
            ),
            (
                "PUT",
                "/web",
                JSON,
                &other_version.to_string(),
                400,
                "BadRequest",
                "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)",
            ),
            (
                "POST",
                "",
                JSON,
                &other_namespace,
                400,
                "BadRequest",
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            (
                "PUT",
                "/other",
                JSON,
                &web(&ground).to_string(),
                400,
                "BadRequest",
                "the name of the object (web) does not match the name on the URL (other)",
            ),
            (
                "PUT",
                "/web",
                JSON,
                "{}",
                400,
                "BadRequest",
                "the name of the object (web based on URL) was undeterminable: name must be provided",
            ),
            (
                "PATCH",
                "/web",
                MERGE_PATCH,
                "{",
                400,
                "BadRequest",
                "error decoding patch: unexpected end of JSON input",
            ),
            (
                "PATCH",
                "/web",
                MERGE_PATCH,
                "[]",
                400,
                "BadRequest",
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                "PATCH",
                "/web",
                MERGE_PATCH,
                r#"{"metadata": {"name": "other"}}"#,
                400,
                "BadRequest",
                "the name of the object (other) does not match the name on the URL (web)",
            ),
            (
                "PATCH",
                "/web",
                MERGE_PATCH,
                r#"{"metadata": {"namespace": "other"}}"#,
                400,
                "BadRequest",
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
        ],
    )
    .await;
}

async fn media_types_methods_and_sizes_are_limited(ground: Ground) {
    ground.create(&web(&ground)).await;
    let web = web(&ground).to_string();
    let not_an_object = "the body of the request was in an unknown format - accepted media types include: \
                         application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let not_allowed = "the server does not allow this method on the requested resource";
    assert_all_refused(
        &ground,
        &[
            ("POST", "", "text/plain", &web, 415, "UnsupportedMediaType", not_an_object),
            ("PUT", "/web", MERGE_PATCH, &web, 415, "UnsupportedMediaType", not_an_object),
            ("PATCH", "/web", "text/plain", "{}", 415, "UnsupportedMediaType", "415: Unsupported Media Type"),
            ("PATCH", "/web", JSON, "{}", 415, "UnsupportedMediaType", "415: Unsupported Media Type"),
            ("PATCH", "/web", "", "{}", 415, "UnsupportedMediaType", "415: Unsupported Media Type"),
            ("POST", "/web", JSON, &web, 405, "MethodNotAllowed", not_allowed),
            ("PUT", "", JSON, &web, 405, "MethodNotAllowed", not_allowed),
            ("PATCH", "", MERGE_PATCH, "{}", 405, "MethodNotAllowed", not_allowed),
        ],
    )
    .await;
    let too_large = format!("{{\"x\": \"{}\"}}", "x".repeat(3 * 1024 * 1024));
    let answer = ground.ask("PATCH", &format!("{}/web", deployments(&ground)), MERGE_PATCH, too_large).await;
    let message = "Request entity too large: limit is 3145728";
    assert_refused("a body over 3 MiB", &answer, 413, "RequestEntityTooLarge", message);
}
