use proptest::prelude::*;

use super::*;

fn no_header(_: &str) -> Option<&'static str> {
    None
}

fn decode_plain(body: &str) -> Result<Message, EnvelopeError> {
    decode(no_header, body.as_bytes())
}

#[test]
fn both_spellings_or_one_of_them() {
    for body in [
        r#"{"message":{"messageId":"7","message_id":"7","publishTime":"2026-11-20T09:16:40Z","publish_time":"2026-11-20T09:16:40Z"}}"#,
        r#"{"message":{"message_id":"7","publish_time":"2026-11-20T09:16:40Z"}}"#,
        r#"{"message":{"messageId":"7","publishTime":"2026-11-20T09:16:40.000000000Z"},"deliveryAttempt":5}"#,
    ] {
        let message = decode_plain(body).unwrap();
        assert_eq!(message.id.as_deref(), Some("7"));
        assert_eq!(message.published.unwrap().to_string(), "2026-11-20T09:16:40Z");
        assert_eq!(message.shape, Shape::Wrapped);
        assert!(message.data.is_empty());
    }
}

#[test]
fn slashes_may_be_escaped_inside_base64() {
    let message =
        decode_plain(r#"{"message":{"data":"Pz8\/"},"subscription":"projects\/p\/subscriptions\/s"}"#).unwrap();
    assert_eq!(message.data, b"???");
    assert_eq!(message.subscription.as_deref(), Some("projects/p/subscriptions/s"));
}

#[test]
fn times_have_up_to_nine_fractional_digits() {
    for digits in 0..=9 {
        let fraction = if digits == 0 { String::new() } else { format!(".{}", &"123456789"[..digits]) };
        let body = format!(r#"{{"message":{{"publishTime":"2026-11-20T09:16:40{fraction}Z"}}}}"#);
        let published = decode_plain(&body).unwrap().published.unwrap();
        let nanoseconds: i32 = format!("{:0<9}", &"123456789"[..digits]).parse().unwrap();
        assert_eq!(published.subsec_nanosecond(), nanoseconds);
    }
}

#[test]
fn an_object_without_a_message_is_unwrapped() {
    let message = decode_plain(r#"{"action":"INSERT"}"#).unwrap();
    assert_eq!((message.shape, message.id, message.published), (Shape::Unwrapped, None, None));
    assert_eq!(message.data, br#"{"action":"INSERT"}"#);
    assert_eq!(decode_plain(r#"{"message":"hello"}"#).unwrap().shape, Shape::Unwrapped);
}

#[test]
fn metadata_headers_make_any_body_a_payload() {
    let header = |name: &str| match name {
        MESSAGE_ID_HEADER => Some("949"),
        PUBLISH_TIME_HEADER => Some("2026-11-20T09:19:48.012Z"),
        _ => None,
    };
    let message = decode(header, b"\xff\0bin").unwrap();
    assert_eq!((message.id.as_deref(), message.shape), (Some("949"), Shape::Unwrapped));
    assert_eq!(message.data, b"\xff\0bin");
}

#[test]
fn a_cloud_event_completes_the_message() {
    let header = |name: &str| match name {
        "ce-specversion" => Some("1.0"),
        "ce-id" => Some("11"),
        "ce-time" => Some("2026-11-20T09:19:48.012Z"),
        _ => None,
    };
    let message = decode(header, br#"{"message":{"data":"e30="}}"#).unwrap();
    assert_eq!((message.id.as_deref(), message.shape), (Some("11"), Shape::Eventarc));
    assert_eq!(message.published.unwrap().to_string(), "2026-11-20T09:19:48.012Z");
    assert_eq!(message.data, b"{}");
    assert_eq!(decode(header, b"no json").unwrap().data, b"no json");
}

#[test]
fn what_is_no_delivery_says_what_and_where() {
    for (body, part) in [
        ("", "no JSON object"),
        ("hello", "no JSON object"),
        ("[1]", "no JSON object"),
        ("{\"message\":", "line 1 column 11"),
        (r#"{"message":"x","subscription":"s"}"#, "message: expected an object"),
        (r#"{"message":{"data":5}}"#, "message: invalid type"),
        (r#"{"message":{"data":"%%"}}"#, "message.data: not base64"),
        (r#"{"message":{"publishTime":"yesterday"}}"#, "message.publishTime: expected an RFC 3339 time"),
        (r#"{"message":{"messageId":5}}"#, "message: invalid type"),
    ] {
        let error = decode_plain(body).unwrap_err().to_string();
        assert!(error.contains(part), "{body}: {error}");
    }
    assert!(decode(no_header, b"\xff{}").unwrap_err().to_string().contains("not UTF-8 at byte 0"));
}

/// A delivery in any shape, right or nearly so, as `properties::envelope` takes it.
fn delivery() -> impl Strategy<Value = Vec<u8>> {
    let select =
        |values: &[&str]| prop::sample::select(values.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let time = select(&[
        "2026-11-20T09:16:40.380Z",
        "2026-11-20T09:16:40+02:00",
        "-009999-01-02T01:59:59Z",
        "9999-12-30T22:00:00.999999999Z",
        "2026-11-20T23:59:60Z",
        "2026-11-20",
        "yesterday",
        "",
    ]);
    let id = prop_oneof![4 => "[0-9]{0,20}", 1 => "[a-z]{250,260}"];
    let header = (
        select(&[
            MESSAGE_ID_HEADER,
            PUBLISH_TIME_HEADER,
            SUBSCRIPTION_HEADER,
            "ce-specversion",
            "ce-type",
            "ce-id",
            "ce-time",
        ]),
        prop_oneof![time.clone(), id.clone(), "[ -~]{0,600}"],
    );
    let headers = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(header.prop_map(|(name, value)| format!("{name}: {value}\n")), 1..4),
    ];
    let data = prop_oneof![
        any::<Vec<u8>>().prop_map(|data| BASE64.encode(data)),
        Just(BASE64.encode(r#"{"action":"INSERT","tag":"a:1"}"#)),
        "[A-Za-z0-9+/=]{0,9}",
    ];
    let text = |text: BoxedStrategy<String>| prop_oneof![5 => text.prop_map(|text| format!("\"{text}\"")), 1 => select(&["null", "7"])];
    let message = (text(data.boxed()), text(id.boxed()), text(time.boxed()), any::<bool>()).prop_map(
        |(data, id, time, snake)| {
            let (id_name, time_name) =
                if snake { ("message_id", "publish_time") } else { ("messageId", "publishTime") };
            format!(r#"{{"data":{data},"{id_name}":{id},"{time_name}":{time},"attributes":{{}}}}"#)
        },
    );
    let wrapped = (message, select(&[r#""projects\/p""#, "null", "7"]), select(&["5", "-1", "1.5", "99999999999"]));
    let body = prop_oneof![
        4 => wrapped.prop_map(|(message, subscription, attempt)| {
            format!(r#"{{"message":{message},"subscription":{subscription},"deliveryAttempt":{attempt}}}"#).into_bytes()
        }),
        1 => select(&["", "[]", r#"{"message":"x"}"#, r#"{"message":"x","subscription":"s"}"#, r#"{"message":null}"#]).prop_map(String::into_bytes),
        1 => any::<Vec<u8>>(),
    ];
    (headers, body).prop_map(|(headers, body)| {
        let end = if headers.is_empty() { "" } else { "\n" };
        [headers.concat().into_bytes(), end.into(), body].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_delivery_is_the_same_in_each_envelope(delivery in delivery()) {
        crate::properties::envelope::hold(&delivery);
    }
}
