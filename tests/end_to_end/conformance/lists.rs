//! LIST: what it says of itself, pages, selectors, and that it is never behind.

use serde_json::{Value, json};

use super::assert_refused;
use crate::support::fixtures::{collection, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_list_says_what_it_is_and_its_items_do_not);
    suite.on_both(what_was_created_is_in_the_next_list);
    suite.on_both(pages_hold_every_object_once);
    suite.on_both(a_list_from_the_watch_cache_has_no_pages);
    suite.on_both(selectors_choose_by_label_and_name);
    suite.on_both(a_list_that_makes_no_sense_is_refused);
}

/// Not scheduled, not rolled out: these are there to be listed.
fn idle(ground: &Ground, name: &str) -> Value {
    let mut manifest = deployment(ground.namespace(), name, &ground.image(name));
    manifest["spec"]["replicas"] = json!(0);
    manifest
}

async fn list(ground: &Ground, path_and_query: &str) -> Value {
    let answer = ground.ask("GET", path_and_query, "", "").await;
    assert_eq!(answer.status, 200, "{path_and_query}: {}", answer.text());
    answer.json()
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn version(metadata: &Value) -> u64 {
    metadata["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn a_list_says_what_it_is_and_its_items_do_not(ground: Ground) {
    let namespace = ground.namespace();
    for (path, kind, api_version) in [
        (format!("/apis/apps/v1/namespaces/{namespace}/deployments"), "DeploymentList", "apps/v1"),
        (format!("/apis/apps/v1/namespaces/{namespace}/statefulsets"), "StatefulSetList", "apps/v1"),
        (format!("/apis/apps/v1/namespaces/{namespace}/daemonsets"), "DaemonSetList", "apps/v1"),
        (format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"), "EventList", "events.k8s.io/v1"),
        ("/apis/apps/v1/namespaces/nowhere/deployments".to_owned(), "DeploymentList", "apps/v1"),
    ] {
        let empty = list(&ground, &path).await;
        assert_eq!([&empty["kind"], &empty["apiVersion"]], [kind, api_version]);
        assert_eq!(empty["items"], json!([]), "{path}");
        assert!(version(&empty["metadata"]) > 0, "{empty}");
    }
    let created = ground.create(&idle(&ground, "web")).await;
    let found = list(&ground, &collection(&idle(&ground, "web"))).await;
    assert_eq!(names(&found), ["web"]);
    assert!(version(&found["metadata"]) >= version(&created["metadata"]), "the list is as new as what is in it");
    let item = &found["items"][0];
    assert_eq!((item.get("kind"), item.get("apiVersion")), (None, None));
    assert_eq!(item["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(item["spec"], created["spec"]);
}

async fn what_was_created_is_in_the_next_list(ground: Ground) {
    let namespace = ground.namespace();
    let mut last_version = 0;
    for number in 0..20 {
        let name = format!("web-{number:02}");
        let created = ground.create(&idle(&ground, &name)).await;
        let all = list(&ground, "/apis/apps/v1/deployments?limit=500").await;
        let ours = all["items"].as_array().unwrap().iter().filter(|item| item["metadata"]["namespace"] == namespace);
        let ours: Vec<&str> = ours.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(ours.len(), number + 1, "{ours:?}");
        assert!(version(&all["metadata"]) >= version(&created["metadata"]));
        assert!(version(&all["metadata"]) > last_version, "a write raises the list's version");
        last_version = version(&all["metadata"]);
    }
    ground.delete(&idle(&ground, "web-07")).await;
    let left = names(&list(&ground, &collection(&idle(&ground, "web"))).await);
    assert!(left.len() == 19 && !left.contains(&"web-07".to_owned()), "{left:?}");
}

async fn pages_hold_every_object_once(ground: Ground) {
    let expected: Vec<String> = (0..7).map(|number| format!("web-{number}")).collect();
    for name in expected.iter().rev() {
        ground.create(&idle(&ground, name)).await;
    }
    let path = format!("{}?limit=3", collection(&idle(&ground, "web")));
    let (mut found, mut pages, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = list(&ground, &format!("{path}&continue={token}")).await;
        found.extend(names(&page));
        pages.push((names(&page).len(), page["metadata"]["remainingItemCount"].as_u64(), version(&page["metadata"])));
        match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
            Some(next) => token = next.to_owned(),
            None => break,
        }
        // All pages are of the moment of the first.
        if pages.len() == 1 {
            ground.create(&idle(&ground, "web-55")).await;
            ground.delete(&idle(&ground, "web-6")).await;
        }
    }
    assert_eq!(found, expected, "in the order of their names");
    let sizes: Vec<_> = pages.iter().map(|(size, remaining, _)| (*size, *remaining)).collect();
    assert_eq!(sizes, [(3, Some(4)), (3, Some(1)), (1, None)]);
    assert!(pages.iter().all(|(_, _, version)| *version == pages[0].2), "one list, one version: {pages:?}");
    let now = names(&list(&ground, &path.replace("limit=3", "limit=500")).await);
    assert_eq!(now, ["web-0", "web-1", "web-2", "web-3", "web-4", "web-5", "web-55"]);
}

async fn a_list_from_the_watch_cache_has_no_pages(ground: Ground) {
    for name in ["a", "b", "c"] {
        ground.create(&idle(&ground, name)).await;
    }
    let path = format!("{}?limit=2&resourceVersion=0", collection(&idle(&ground, "a")));
    // It may be behind, but not for ever.
    let whole = eventually("the watch cache knows all three", async || {
        let found = list(&ground, &path).await;
        (names(&found) == ["a", "b", "c"]).then_some(found)
    });
    assert_eq!(whole.await["metadata"].get("continue"), None);
}

async fn selectors_choose_by_label_and_name(ground: Ground) {
    for (name, labels) in
        [("front", json!({"tier": "front", "env": "prod"})), ("back", json!({"tier": "back"})), ("none", Value::Null)]
    {
        let mut manifest = idle(&ground, name);
        manifest["metadata"]["labels"] = labels;
        ground.create(&manifest).await;
    }
    let path = collection(&idle(&ground, "front"));
    for (query, expected) in [
        ("labelSelector=tier%3Dfront", vec!["front"]),
        ("labelSelector=tier%3D%3Dfront,env%3Dprod", vec!["front"]),
        ("labelSelector=tier%21%3Dfront", vec!["back", "none"]),
        ("labelSelector=tier%20in%20(front,back)", vec!["back", "front"]),
        ("labelSelector=tier%20notin%20(front)", vec!["back", "none"]),
        ("labelSelector=tier", vec!["back", "front"]),
        ("labelSelector=!env", vec!["back", "none"]),
        ("labelSelector=tier%3Dfront,!env", vec![]),
        ("labelSelector=tier%3D", vec![]),
        ("labelSelector=", vec!["back", "front", "none"]),
        ("fieldSelector=metadata.name%3Dback", vec!["back"]),
        ("fieldSelector=metadata.name%21%3Dback", vec!["front", "none"]),
        ("limit=1&labelSelector=tier", vec!["back"]),
    ] {
        let found = list(&ground, &format!("{path}?{query}")).await;
        assert_eq!(names(&found), expected, "{query}");
        // With a selector the server does not know how many are left.
        assert_eq!(found["metadata"].get("remainingItemCount"), None, "{query}");
    }
    let query = format!("/apis/apps/v1/deployments?fieldSelector=metadata.namespace%3D{}", ground.namespace());
    assert_eq!(names(&list(&ground, &query).await), ["back", "front", "none"]);
}

async fn a_list_that_makes_no_sense_is_refused(ground: Ground) {
    let path = collection(&idle(&ground, "web"));
    for (query, message) in [
        ("labelSelector=a%20b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        (
            "fieldSelector=spec.image%3Dx",
            "\"spec.image\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "limit=2&continue=abc",
            "invalid continue token: continue key is not valid: invalid character 'i' looking for beginning of value",
        ),
        ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        (
            "resourceVersion=x",
            "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
    ] {
        let answer = ground.ask("GET", &format!("{path}?{query}"), "", "").await;
        assert_refused(query, &answer, 400, "BadRequest", message);
    }
}
