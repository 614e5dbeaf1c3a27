//! The limits of a ConfigMap: size, keys, values, immutability.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{assert_refused, merge_patch};
use crate::support::fixtures::{collection, config_map};
use crate::support::ground::Ground;
use crate::support::http::Answer;
use crate::support::kubernetes::JSON;
use crate::support::suite::Suite;

/// What `data` and `binaryData` may hold together.
const MOST_BYTES: usize = 1_048_576;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_config_map_holds_a_mebibyte_and_no_byte_more);
    suite.on_both(keys_are_of_one_alphabet);
    suite.on_both(values_are_text_or_base64);
    suite.on_both(an_immutable_config_map_stays_as_it_is);
}

async fn create(ground: &Ground, name: &str, data: Value, binary_data: Value) -> Answer {
    let mut manifest = config_map(ground.namespace(), name, "key", "value");
    manifest["data"] = data;
    manifest["binaryData"] = binary_data;
    ground.ask("POST", &collection(&manifest), JSON, manifest.to_string()).await
}

async fn a_config_map_holds_a_mebibyte_and_no_byte_more(ground: Ground) {
    let text = |bytes: usize| "x".repeat(bytes);
    let binary = |bytes: usize| STANDARD.encode(vec![0xff_u8; bytes]);
    let long_key = "k".repeat(253);
    // The same number of bytes in each: values count as they are stored, keys not at all.
    let cases = |bytes: usize| {
        [
            ("text", json!({"key": text(bytes)}), Value::Null),
            ("two", json!({"a": text(bytes / 2), "b": text(bytes - bytes / 2)}), Value::Null),
            ("binary", Value::Null, json!({"key": binary(bytes)})),
            ("both", json!({"text": text(1000)}), json!({"binary": binary(bytes - 1000)})),
            ("long-key", json!({&long_key: text(bytes)}), Value::Null),
            ("two-byte-letters", json!({"key": format!("{}{}", "é".repeat(1000), text(bytes - 2000))}), Value::Null),
        ]
    };
    for (name, data, binary_data) in cases(MOST_BYTES) {
        let answer = create(&ground, name, data, binary_data).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text().chars().take(300).collect::<String>());
    }
    for (name, data, binary_data) in cases(MOST_BYTES + 1) {
        let answer = create(&ground, &format!("more-{name}"), data, binary_data).await;
        let message =
            format!("ConfigMap \"more-{name}\" is invalid: []: Too long: may not be more than {MOST_BYTES} bytes");
        assert_refused(name, &answer, 422, "Invalid", &message);
    }
    let grown = config_map(ground.namespace(), "text", "key", "");
    let answer = merge_patch(&ground, &grown, json!({"data": {"other": "x"}})).await;
    let message = format!("ConfigMap \"text\" is invalid: []: Too long: may not be more than {MOST_BYTES} bytes");
    assert_refused("a patch that adds a byte", &answer, 422, "Invalid", &message);
}

async fn keys_are_of_one_alphabet(ground: Ground) {
    const RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
                        or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    let manifest = config_map(ground.namespace(), "cache", "cache.json", "{}");
    ground.create(&manifest).await;
    for key in ["cache.json", "A-Z_0.9", "-", "_", ".x", &"k".repeat(253)] {
        let answer = merge_patch(&ground, &manifest, json!({"data": {key: "1"}})).await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.text());
    }
    let long = "k".repeat(254);
    for (key, rule) in [
        ("", RULE),
        ("a b", RULE),
        ("a/b", RULE),
        ("é", RULE),
        (&long, "must be no more than 253 characters"),
        (".", "must not be '.'"),
        ("..", "must not be '..'"),
        ("..data", "must not start with '..'"),
    ] {
        let answer = merge_patch(&ground, &manifest, json!({"data": {key: "1"}})).await;
        let message = format!("ConfigMap \"cache\" is invalid: data[{key}]: Invalid value: {key:?}: {rule}");
        assert_refused(key, &answer, 422, "Invalid", &message);
    }
    let answer = merge_patch(&ground, &manifest, json!({"binaryData": {"cache.json": STANDARD.encode("twice")}})).await;
    let message = "ConfigMap \"cache\" is invalid: data[cache.json]: Invalid value: \"cache.json\": duplicate of key \
                   present in binaryData";
    assert_refused("a key in both", &answer, 422, "Invalid", message);
}

async fn values_are_text_or_base64(ground: Ground) {
    let manifest = config_map(ground.namespace(), "cache", "key", "value");
    ground.create(&manifest).await;
    for patch in [json!({"data": {"key": 1}}), json!({"data": []}), json!({"binaryData": {"other": "***"}})] {
        let answer = merge_patch(&ground, &manifest, patch.clone()).await;
        assert_refused(&patch.to_string(), &answer, 422, "Invalid", " \"\" is invalid: patch: Invalid value: \"{…");
    }
    assert_eq!(ground.get(&manifest).await["data"], json!({"key": "value"}));
    let odd = "a\u{0}b\n\u{1F980}\"\\";
    let written = merge_patch(&ground, &manifest, json!({"data": {"key": odd}})).await.json();
    assert_eq!(written["data"]["key"], odd);
}

async fn an_immutable_config_map_stays_as_it_is(ground: Ground) {
    let manifest = config_map(ground.namespace(), "cache", "key", "value");
    ground.create(&manifest).await;
    let frozen = merge_patch(&ground, &manifest, json!({"immutable": true})).await;
    assert_eq!(frozen.json()["immutable"], true);

    let rule = |field: &str| format!("{field}: Forbidden: field is immutable when `immutable` is set");
    for (patch, fields) in [
        (json!({"data": {"key": "other"}}), vec!["data"]),
        (json!({"data": {"new": "x"}}), vec!["data"]),
        (json!({"binaryData": {"new": "eA=="}}), vec!["binaryData"]),
        (json!({"immutable": false}), vec!["immutable"]),
        (json!({"immutable": null, "data": null}), vec!["immutable", "data"]),
    ] {
        let answer = merge_patch(&ground, &manifest, patch.clone()).await;
        let rules: Vec<String> = fields.into_iter().map(rule).collect();
        let rules = if rules.len() == 1 { rules.concat() } else { format!("[{}]", rules.join(", ")) };
        let message = format!("ConfigMap \"cache\" is invalid: {rules}");
        assert_refused(&patch.to_string(), &answer, 422, "Invalid", &message);
    }
    let labelled = merge_patch(&ground, &manifest, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled.status, 200, "its labels may change: {}", labelled.text());
    ground.delete(&manifest).await;
    ground.create(&manifest).await;
    let changed = merge_patch(&ground, &manifest, json!({"data": {"key": "other"}})).await;
    assert_eq!(changed.status, 200, "made anew, it is not immutable: {}", changed.text());
}
