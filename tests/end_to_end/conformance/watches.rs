//! WATCH: every change after a revision, in order; the end of a request; a revision that is too old.

use serde_json::{Value, json};

use crate::support::fixtures::{collection, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_watch_tells_every_change_in_order);
    suite.on_both(a_watch_from_nowhere_begins_with_what_there_is);
    suite.on_both(a_watch_with_a_selector_tells_what_leaves_it);
    // A real one forgets when it restarts, or after a hundred changes and more
    // (`k8s.io/apiserver/pkg/storage/cacher/watch_cache.go`).
    suite.on_embedded(a_watch_from_too_long_ago_is_told_so);
}

/// What a watch of this long tells.
async fn watch(ground: &Ground, query: &str) -> Vec<Value> {
    let collection = collection(&deployment(ground.namespace(), "any", "any"));
    let answer = ground.ask("GET", &format!("{collection}?watch=true&timeoutSeconds=1&{query}"), "", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn revision(ground: &Ground) -> String {
    let collection = collection(&deployment(ground.namespace(), "any", "any"));
    let list = ground.request("GET", &collection, None).await.unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// Type, name and image of an event; controllers add events of their own for the status.
fn described(events: &[Value]) -> Vec<[&str; 3]> {
    let mut described: Vec<_> = events
        .iter()
        .map(|event| {
            let object = &event["object"];
            let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
            [&event["type"], &object["metadata"]["name"], image].map(|text| text.as_str().unwrap_or_default())
        })
        .collect();
    described.dedup();
    described
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// No controller touches it again once it is observed, and none is needed.
fn idle(ground: &Ground, name: &str, image: &str) -> Value {
    let mut manifest = deployment(ground.namespace(), name, image);
    manifest["spec"]["replicas"] = json!(0);
    manifest
}

async fn a_watch_tells_every_change_in_order(ground: Ground) {
    let before = revision(&ground).await;
    let (one, two) = (ground.image("one"), ground.image("two"));
    let web = idle(&ground, "web", &one);
    ground.create(&web).await;
    let name = &web["spec"]["template"]["spec"]["containers"][0]["name"];
    let container = json!({"name": name, "image": two});
    let changed = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    let after = version(&ground.patch(&web, "tester", changed).await);
    ground.delete(&web).await;

    let events = watch(&ground, &format!("resourceVersion={before}")).await;
    let mut described = described(&events);
    // A status of the one image may follow the change of it.
    described.dedup();
    assert_eq!(described.first(), Some(&["ADDED", "web", one.as_str()]));
    assert!(described.contains(&["MODIFIED", "web", &two]), "{described:?}");
    assert_eq!(described.last(), Some(&["DELETED", "web", two.as_str()]));
    let versions: Vec<u64> = events.iter().map(|event| version(&event["object"])).collect();
    assert!(versions.is_sorted(), "{versions:?}");
    assert!(versions.last() > Some(&after), "a deletion has a revision of its own");
    let object = &events[0]["object"];
    assert_eq!([&object["kind"], &object["apiVersion"]], ["Deployment", "apps/v1"]);

    let since = watch(&ground, &format!("resourceVersion={}", versions.last().unwrap())).await;
    assert_eq!(since, Vec::<Value>::new(), "nothing since");
}

async fn a_watch_from_nowhere_begins_with_what_there_is(ground: Ground) {
    ground.create(&idle(&ground, "a", &ground.image("one"))).await;
    ground.create(&idle(&ground, "b", &ground.image("one"))).await;
    for query in ["", "resourceVersion=0"] {
        let events = watch(&ground, query).await;
        let mut added: Vec<_> =
            events.iter().filter(|event| event["type"] == "ADDED").map(|e| &e["object"]["metadata"]["name"]).collect();
        added.sort_by_key(|name| name.to_string());
        assert_eq!(added, ["a", "b"], "{query}");
    }
}

async fn a_watch_with_a_selector_tells_what_leaves_it(ground: Ground) {
    let before = revision(&ground).await;
    let web = idle(&ground, "web", &ground.image("one"));
    ground.create(&web).await;
    ground.patch(&web, "tester", json!({"metadata": {"labels": {"watched": "yes"}}})).await;
    ground.patch(&web, "tester", json!({"metadata": {"labels": {"watched": "no"}}})).await;
    let events = watch(&ground, &format!("resourceVersion={before}&labelSelector=watched%3Dyes")).await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((types.first(), types.last()), (Some(&"ADDED"), Some(&"DELETED")), "{types:?}");
    let last = &events.last().unwrap()["object"]["metadata"]["labels"]["watched"];
    assert_eq!(last, "yes", "as it was when it was last selected");
}

async fn a_watch_from_too_long_ago_is_told_so(ground: Ground) {
    ground.embedded_kubernetes().compact();
    let events = watch(&ground, "resourceVersion=1").await;
    assert_eq!(events.len(), 1, "{events:?}");
    let status = &events[0]["object"];
    assert_eq!(events[0]["type"], "ERROR");
    let head = json!({"kind": status["kind"], "apiVersion": status["apiVersion"], "status": status["status"],
        "code": status["code"], "reason": status["reason"]});
    let expected = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"});
    assert_eq!(head, expected, "{status}");
    assert!(status["message"].as_str().unwrap().starts_with("too old resource version: 1 ("), "{status}");
}
