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
