use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:6ec128e26cd5a1b9d0f7e3f2b4c6d8e0f1a2b3c4d5e6f708192a3b4c5d6e7f80";

fn code(payload: &str) -> NotForUsCode {
    decode(payload.as_bytes()).unwrap_err().code
}

#[test]
fn a_tagged_insert_is_a_push() {
    let payload = format!(r#"{{"action":"INSERT","digest":"gcr.io/p/a@{DIGEST}","tag":"gcr.io\/p\/a:1","new":1}}"#);
    let push = decode(payload.as_bytes()).unwrap();
    assert_eq!(push.image.as_written(), "gcr.io/p/a:1");
    assert_eq!(push.digest.unwrap().as_str(), DIGEST);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert!(decode("\u{feff}{\"action\":\"INSERT\",\"tag\":\"a:1\"}".as_bytes()).is_ok());
    assert_eq!(code("\u{feff}"), NotForUsCode::NotJson);
}

#[test]
fn a_digest_that_cannot_be_read_does_not_lose_the_push() {
    let push = decode(br#"{"action":"INSERT","tag":"a:1","digest":"a@sha256:zz"}"#).unwrap();
    assert_eq!((push.image.as_written(), push.digest), ("a:1", None));
    assert!(push.warning.unwrap().contains("is not a digest"));
}

#[test]
fn a_reason_does_not_repeat_megabytes() {
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    assert!(decode(payload.as_bytes()).unwrap_err().reason.len() < 400);
}

#[test]
fn what_leads_to_nothing_says_which() {
    use NotForUsCode::*;
    for (payload, expected) in [
        (String::new(), Empty),
        ("hello".into(), NotJson),
        ("[]".into(), NotJson),
        ("{}".into(), NotARegistryEvent),
        (r#"{"action":5}"#.into(), NotARegistryEvent),
        (r#"{"action":"DELETE","tag":"a:1"}"#.into(), Deleted),
        (format!(r#"{{"action":"DELETE","digest":"a@{DIGEST}"}}"#), Deleted),
        (format!(r#"{{"action":"INSERT","digest":"a@{DIGEST}"}}"#), Untagged),
        (r#"{"action":"insert"}"#.into(), UnknownAction),
        (r#"{"action":"INSERT","tag":7}"#.into(), InvalidReference),
        (r#"{"action":"INSERT","tag":"A B"}"#.into(), InvalidReference),
        (format!(r#"{{"action":"INSERT","tag":"a:1@{DIGEST}"}}"#), InvalidReference),
        (format!(r#"{{"action":"INSERT","tag":"a:{}.sig"}}"#, DIGEST.replace(':', "-")), Signature),
        (format!(r#"{{"action":"INSERT","tag":"a:{}"}}"#, DIGEST.replace(':', "-")), Signature),
    ] {
        assert_eq!(code(&payload), expected, "{payload}");
    }
    assert_eq!(decode(b"\xff\xfe{}").unwrap_err().code, NotJson);
    assert!(decode(br#"{"action":"INSERT","tag":"a:sha256-beta"}"#).is_ok());
}

/// A payload's members, right or nearly so, and in any order.
fn payload() -> impl Strategy<Value = String> {
    let select =
        |values: &[&str]| prop::sample::select(values.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let action = select(&[r#""INSERT""#, r#""INSERT""#, r#""INSERT""#, r#""DELETE""#, r#""\u0049NSERT""#, "null", "5"]);
    let tag = prop_oneof![
        3 => "\"(gcr\\.io\\\\?/)?[a-z]{1,5}(/[a-z]{1,5})?(:[A-Za-z0-9.-]{1,9})?\"",
        1 => select(&["null", "7", r#""""#, r#""A B""#]),
        1 => Just(format!("\"a:{}\"", DIGEST.replace(':', "-"))),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let digest = prop_oneof![
        Just(format!("\"gcr.io/p/a@{DIGEST}\"")),
        "\"([a-z@]{0,9}@)?(sha256|SHA256|a{1,300}):[0-9a-fA-F]{30,70}\"",
        select(&["null", "[]", r#""@""#]),
    ];
    let more = select(&["1e999", r#"{"a":[{}]}"#, r#""\ud800""#]);
    let members = (action, tag, digest, more).prop_map(|(action, tag, digest, more)| {
        vec![("action", action), ("tag", tag), ("digest", digest), ("new", more)]
    });
    (members.prop_shuffle(), 0..5_usize).prop_map(|(members, kept)| {
        let members: Vec<_> =
            members.iter().take(kept.max(2)).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", members.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_payload_is_a_push_or_has_a_reason(text in payload()) {
        crate::properties::event::hold(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_a_push_or_have_a_reason(bytes in any::<Vec<u8>>()) {
        crate::properties::event::hold(&bytes);
    }
}
