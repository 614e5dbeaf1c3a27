//! What is left: clock, version, health, Events, DELETE.

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::{assert_refused, every_kind, path_of};
use crate::support::fixtures::{collection, config_map};
use crate::support::ground::Ground;
use crate::support::kubernetes::{JSON, MERGE_PATCH};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(every_answer_has_the_servers_time);
    suite.on_both(version_and_health_are_there);
    suite.on_both(an_event_is_created_and_counted_on);
    suite.on_both(an_event_that_says_too_little_is_refused);
    suite.on_both(a_delete_says_what_is_gone);
}

async fn every_answer_has_the_servers_time(ground: Ground) {
    let cache = config_map(ground.namespace(), "cache", "key", "value");
    let created = ground.create(&cache).await;
    let list = format!("{}?limit=1", collection(&cache));
    for (method, path) in
        [("GET", path_of(&cache)), ("GET", list), ("GET", "/nope".to_owned()), ("POST", path_of(&cache))]
    {
        // To the second, and cut off.
        let before = Timestamp::now().round((Unit::Second, 1)).unwrap() - jiff::SignedDuration::from_secs(1);
        let answer = ground.ask(method, &path, JSON, "").await;
        let after = Timestamp::now();
        let date = answer.headers["date"].to_str().unwrap();
        let time = DateTimeParser::new().parse_timestamp(date).unwrap();
        assert!(date.ends_with(" GMT") && before <= time && time <= after, "{method} {path}: {date}");
        assert!(answer.headers.contains_key("audit-id"), "{method} {path}");
        assert_eq!(answer.headers["cache-control"], "no-cache, private", "{method} {path}");
    }
    let made: Timestamp = created["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
    assert!(made <= Timestamp::now());
}

async fn version_and_health_are_there(ground: Ground) {
    let version = ground.ask("GET", "/version", "", "").await.json();
    assert_eq!([&version["major"], &version["minor"]], ["1", "36"]);
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."), "{version}");
    for path in ["/readyz", "/livez", "/healthz"] {
        let answer = ground.ask("GET", path, "", "").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"), "{path}");
    }
}

fn events(ground: &Ground) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{}/events", ground.namespace())
}

fn event(ground: &Ground, name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "eventTime": "2026-11-20T09:16:40.380000Z",
        "reportingController": "pushroll.dev/pushroll", "reportingInstance": "pushroll-0",
        "action": "Restart", "reason": "RestartRefused", "type": "Warning", "note": "refused",
        "regarding": {"kind": "Deployment", "apiVersion": "apps/v1", "namespace": ground.namespace(), "name": "web"},
    })
}

async fn an_event_is_created_and_counted_on(ground: Ground) {
    let answer = ground.ask("POST", &events(&ground), JSON, event(&ground, "one").to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let created = answer.json();
    for field in ["eventTime", "reportingController", "action", "reason", "type", "note", "regarding"] {
        assert_eq!(created[field], event(&ground, "one")[field], "{field}");
    }
    let path = format!("{}/one", events(&ground));
    let series = json!({"count": 2, "lastObservedTime": "2026-11-20T09:16:41.000000Z"});
    let answer = ground.ask("PATCH", &path, MERGE_PATCH, json!({"series": series}).to_string()).await;
    assert_eq!(answer.json()["series"], series, "{}", answer.text());

    let answer = ground.ask("PATCH", &path, MERGE_PATCH, json!({"note": "other"}).to_string()).await;
    let message = "Event \"one\" is invalid: message: Invalid value: \"other\": field is immutable";
    assert_refused("another note", &answer, 422, "Invalid", message);
}

async fn an_event_that_says_too_little_is_refused(ground: Ground) {
    let (mut without_action, mut without_reason, mut long, mut elsewhere) =
        (event(&ground, "x"), event(&ground, "x"), event(&ground, "x"), event(&ground, "x"));
    without_action["action"] = json!("");
    without_reason["reason"] = json!("");
    long["note"] = json!("x".repeat(1025));
    long["action"] = json!("x".repeat(129));
    elsewhere["regarding"] = json!({});
    for (event, errors) in [
        (without_action, "action: Required value"),
        (without_reason, "reason: Required value"),
        (
            long,
            "[action: Invalid value: \"\": can have at most 128 characters, message: Invalid value: \"\": can have at \
                most 1024 characters]",
        ),
        (elsewhere, "involvedObject.namespace: Invalid value: \"\": does not match event.namespace"),
    ] {
        let answer = ground.ask("POST", &events(&ground), JSON, event.to_string()).await;
        assert_refused(errors, &answer, 422, "Invalid", &format!("Event \"x\" is invalid: {errors}"));
    }
}

async fn a_delete_says_what_is_gone(ground: Ground) {
    let cache = config_map(ground.namespace(), "cache", "key", "value");
    for manifest in every_kind(&ground).into_iter().chain([cache]) {
        let uid = ground.create(&manifest).await["metadata"]["uid"].clone();
        let answer = ground.ask("DELETE", &path_of(&manifest), "", "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut details = json!({
            "name": manifest["metadata"]["name"], "uid": uid,
            "kind": manifest["kind"].as_str().unwrap().to_lowercase() + "s",
        });
        if manifest["apiVersion"] == "apps/v1" {
            details["group"] = json!("apps");
        }
        let expected =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
        assert_eq!(answer.json(), expected);
        eventually("it is gone", async || {
            (ground.ask("GET", &path_of(&manifest), "", "").await.status == 404).then_some(())
        })
        .await;
    }
}
