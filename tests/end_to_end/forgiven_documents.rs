//! Documents as other programs write them: one mistake in them does not cost the rest, on the mount and through the API
//! alike.

use serde_json::{Value, json};

use crate::support::command::run;
use crate::support::documents::names;
use crate::support::fixtures::config_map;
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(what_other_programs_write_is_read_as_far_as_it_goes);
    suite.on_embedded(an_incomplete_document_is_written_anew);
}

/// A document, the workloads that run `a/b:1` by it, and what the one warning says; empty: there is none.
type Case = (&'static str, &'static [&'static str], &'static str);

const WEB: &[&str] = &["web"];
const CASES: [Case; 10] = [
    (r#"{"images":{"a/b:1":[{"name":"web","namespace":"shop"}],"a/c:1":null}}"#, WEB, ""),
    ("\u{feff}{\"images\":{\"a/b:1\":[{\"name\":\"web\",\"namespace\":\"shop\"}]}}", WEB, ""),
    (
        r#"{"images":{"a/b:1":[{"name":"web","namespace":"shop"}],"a/b:1":[{"name":"api","namespace":"shop"}]}}"#,
        &["api", "web"],
        "",
    ),
    (r#"{"images":null}"#, &[], "images is null"),
    (
        r#"{"images":{"a/b:1":[{"name":"web","namespace":"shop"},{"name":"api"}]}}"#,
        WEB,
        r#"a/b:1, "api" has no namespace"#,
    ),
    (
        r#"{"images":{"a/b:1":[{"name":"web","namespace":"shop"},["api","shop"]]}}"#,
        WEB,
        "a/b:1, a list in place of a workload",
    ),
    (r#"{"images":{"a/b:1":[{"name":"web","namespace":"shop"}],"a/c:1":"api"}}"#, WEB, "a/c:1, a string in place of"),
    (
        r#"{"images":{"a/b:1":[{"name":"web","namespace":"shop"},{"name":"\udc00"}]}}"#,
        WEB,
        "a/b:1, a value that cannot be read",
    ),
    (r#"{"as_of":7,"scope":{},"images":{"a/b:1":[{"name":"web","namespace":"shop"}]}}"#, WEB, "as_of is 7, not a time"),
    (
        r#"{"version":"1","scope":[],"images":{"a/b:1":[{"name":"web","namespace":"shop"}]}}"#,
        WEB,
        "scope is [], not an object",
    ),
];

async fn what_other_programs_write_is_read_as_far_as_it_goes(ground: Ground) {
    let mut volume = ground.volume();
    let directory = volume.directory().to_owned();
    for (text, expected, warning) in CASES {
        let stored = config_map(ground.namespace(), "deployment-image-cache", "cache.json", text);
        ground.create(&stored).await;
        volume.show_file("cache.json", text);

        for (tier, on_mount) in [("configmap", false), ("mount", true)] {
            let service = if on_mount { ground.service().mount(&directory) } else { ground.service() };
            let service = service.start_ready().await;
            let found = service.lookup("a/b:1").await;
            assert_eq!((names(&found), &found["source"]["tier"]), (strings(expected), &json!(tier)), "{text}");
            assert_eq!(names(&service.lookup("a/c:1").await), [""; 0], "{text}");
            let warnings = &service.status().await["tiers"][tier]["warnings"];
            says(text, warnings.as_array().map_or(&[], Vec::as_slice), warning);
        }

        let user = ground.fresh_user();
        let mount = ["--cache-dir", directory.to_str().unwrap(), "--no-api"];
        let lookup = ["lookup", "a/b:1", "-o", "name"];
        for ran in [run(&[&lookup[..], &mount].concat()).await, ground.run_as(&user, &lookup).await] {
            let shown: String = expected.iter().map(|name| format!("shop/deployment/{name}\n")).collect();
            let code = if expected.is_empty() { 3 } else { 0 };
            assert_eq!((ran.code, &ran.stdout), (code, &shown), "{text}: {ran:?}");
            assert_eq!(ran.stderr.matches("left out").count(), usize::from(!warning.is_empty()), "{text}: {ran:?}");
            assert!(ran.stderr.contains(warning), "{text}: {ran:?}");
        }
        let ran = ground.run_as(&user, &["check", "-o", "json"]).await;
        let findings = ran.json()["findings"].as_array().unwrap().clone();
        let left_out: Vec<Value> = findings.iter().filter(|found| found["code"] == "left_out").cloned().collect();
        says(text, &left_out, warning);
        ground.delete(&stored).await;
    }
}

/// Whatever its head says, a scan is worth more.
async fn an_incomplete_document_is_written_anew(ground: Ground) {
    for (images, head) in [("null", "\"scope\": {}"), ("{}", "\"scope\": {}, \"version\": \"v1\"")] {
        // A minute ahead: a scan that began later.
        let as_of = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
        let text = format!(r#"{{"as_of": "{as_of}", {head}, "images": {images}}}"#);
        let stored = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &text);
        ground.create(&stored).await;
        let ran = ground.run_as(&ground.fresh_user(), &["rebuild", "-o", "json"]).await;
        assert_eq!(ran.json()["result"], "changed", "{ran:?}");
        assert_eq!(ground.cache_document().await.unwrap()["version"], 1);
        ground.delete(&stored).await;
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// There is one warning that says this, or none.
fn says(text: &str, warnings: &[Value], expected: &str) {
    assert_eq!(warnings.len(), usize::from(!expected.is_empty()), "{text}: {warnings:?}");
    for warning in warnings {
        let reason = warning.as_str().or_else(|| warning["reason"].as_str()).unwrap();
        assert!(reason.contains(expected), "{text}: {reason}");
    }
}
