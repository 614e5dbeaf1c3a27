//! Of a payload.

use serde_json::{Value, json};

use super::is_told_briefly;
use crate::event::artifact::{ImagePush, NotForUs, NotForUsCode, decode};

pub fn hold(bytes: &[u8]) {
    match decode(bytes) {
        Ok(push) => push_is_of_a_tag(&push, bytes),
        Err(not_for_us) => reason_is_the_payloads(&not_for_us, bytes),
    }
}

fn push_is_of_a_tag(push: &ImagePush, bytes: &[u8]) {
    assert!(push.image.tag_key().is_some(), "{push:?}");
    assert!(push.digest.is_none() || push.warning.is_none(), "{push:?}");
    push.warning.as_deref().inspect(|warning| is_told_briefly(warning));

    // What it says is all that counts, however it is written down and whatever else is said.
    let digest = push.digest.as_ref().map(|digest| format!("{}@{digest}", push.image.repository()));
    let rewritten = json!({"action": "INSERT", "digest": digest, "tag": push.image.as_written(), "more": [{}]});
    let again = decode(rewritten.to_string().as_bytes()).unwrap();
    assert_eq!(again, ImagePush { warning: None, ..push.clone() });
    assert_eq!(again.image.as_written(), push.image.as_written());
    let spaced = [b" \n", bytes, b"\t\r\n"].concat();
    assert_eq!(decode(&spaced).as_ref(), Ok(push));
}

fn reason_is_the_payloads(not_for_us: &NotForUs, bytes: &[u8]) {
    is_told_briefly(&not_for_us.reason);
    assert_eq!(not_for_us.code == NotForUsCode::Empty, bytes.is_empty(), "{not_for_us:?}");
    let is_an_object = serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.is_object());
    if is_an_object && not_for_us.code == NotForUsCode::NotJson {
        assert!(not_for_us.reason.contains("duplicate field"), "an object is no JSON object: {not_for_us:?}");
    }
}
