use ::base64::Engine as _;
use proptest::prelude::*;

use super::fields::BASE64;
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
        (r#"{"message":{"messageId":true}}"#, "message.messageId: expected a string or a whole number"),
        (r#"{"message":{"messageId":-5}}"#, "message.messageId: expected a string or a whole number"),
        (r#"{"message":{"publish_time":5}}"#, "message.publishTime: expected a string"),
        ("[{}]", "it is an array"),
        ("[[\"1.0\"]]", "it is an array"),
        (r#"{"specversion":"1.0","id":[]}"#, "id: expected a string or a whole number"),
        (r#"{"specversion":"1.0","time":"yesterday"}"#, "time: expected an RFC 3339 time"),
        (r#"{"specversion":"1.0","data_base64":"%"}"#, "data_base64: not base64"),
        (r#"{"specversion":"1.0","data_base64":{}}"#, "data_base64: expected a string"),
        (r#"{"specversion":"1.0","data":{"message":{"data":"%"}}}"#, "message.data: not base64"),
    ] {
        let error = decode_plain(body).unwrap_err().to_string();
        assert!(error.contains(part), "{body}: {error}");
    }
    assert!(decode(no_header, b"\xff{}").unwrap_err().to_string().contains("not UTF-8 at byte 0"));
}

const PUSHED: &str = r#"{"action":"INSERT","tag":"shop/web?:1~~~"}"#;

#[test]
fn base64_is_read_as_people_write_it() {
    use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    let standard = STANDARD.encode(PUSHED);
    assert!(standard.contains(['+', '/']), "{standard}");
    let lines = |newline: &str| {
        let lines: Vec<_> = standard.as_bytes().chunks(20).map(|line| std::str::from_utf8(line).unwrap()).collect();
        lines.join(newline) + newline
    };
    for data in [
        standard.clone(),
        STANDARD_NO_PAD.encode(PUSHED),
        URL_SAFE.encode(PUSHED),
        URL_SAFE_NO_PAD.encode(PUSHED),
        lines("\\n"),
        lines("\\r\\n"),
        lines(" "),
        format!("  {standard}\\t"),
    ] {
        let message = decode_plain(&format!(r#"{{"message":{{"data":"{data}"}}}}"#)).unwrap();
        assert_eq!(message.data, PUSHED.as_bytes(), "{data}");
    }
}

#[test]
fn an_id_may_be_a_number_and_keeps_its_digits() {
    for (id, expected) in [
        ("7", Some("7")),
        ("184467440737095516160", Some("184467440737095516160")),
        ("0", Some("0")),
        (r#"" 7\n""#, Some("7")),
        (r#""\u0037""#, Some("7")),
        (r#""""#, None),
        ("null", None),
    ] {
        for name in ["messageId", "message_id"] {
            let message = decode_plain(&format!(r#"{{"message":{{"{name}":{id}}}}}"#)).unwrap();
            assert_eq!(message.id.as_deref(), expected, "{name} {id}");
        }
        let event = decode_plain(&format!(r#"{{"specversion":"1.0","id":{id}}}"#)).unwrap();
        assert_eq!(event.id.as_deref(), expected, "{id}");
    }
    let message = decode_plain(r#"{"message":{"messageId":"","message_id":7,"publishTime":" 2026-11-20T09:16:40Z "}}"#);
    assert!(matches!(message, Ok(Message { id: Some(id), published: Some(_), .. }) if id == "7"));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let wrapped = decode_plain("\u{feff}{\"message\":{\"data\":\"77u/e30=\"}}").unwrap();
    assert_eq!((wrapped.shape, &wrapped.data[..]), (Shape::Wrapped, "\u{feff}{}".as_bytes()));
    let unwrapped = decode_plain("\u{feff}{\"action\":\"INSERT\"}").unwrap();
    assert_eq!(unwrapped.shape, Shape::Unwrapped);
    for payload in [wrapped.data, unwrapped.data] {
        assert_ne!(crate::event::artifact::decode(&payload).unwrap_err().code, crate::event::NotForUsCode::NotJson);
    }
}

#[test]
fn a_structured_cloud_event_is_the_message_in_its_data() {
    let event = |data: &str| {
        let body = format!(
            r#"{{"specversion":"1.0","type":"t","id":"11","time":"2026-11-20T09:19:48.012Z","source":"s"{data}}}"#
        );
        let decoded = decode_plain(&body).unwrap();
        assert_eq!(decode_plain(&format!(" [ {body} ]\n")).unwrap(), decoded, "a batch of one");
        assert_eq!((decoded.shape, decoded.id.as_deref()), (Shape::Eventarc, Some("11")), "{body}");
        assert_eq!(decoded.published.unwrap().to_string(), "2026-11-20T09:19:48.012Z");
        decoded
    };
    const WRAPPED: &str = r#"{"message":{"data":"e30="},"subscription":"projects/p/subscriptions/s"}"#;
    let encoded = BASE64.encode(WRAPPED);
    let quoted = serde_json::to_string(WRAPPED).unwrap();
    for data in
        [format!(r#","data":{WRAPPED}"#), format!(r#","data_base64":"{encoded}""#), format!(r#","data":{quoted}"#)]
    {
        let decoded = event(&data);
        assert_eq!(
            (&decoded.data[..], decoded.subscription.as_deref()),
            (&b"{}"[..], Some("projects/p/subscriptions/s"))
        );
    }
    assert_eq!(event(&format!(r#","data":{PUSHED}"#)).data, PUSHED.as_bytes(), "the payload alone");
    assert_eq!(event(r#","data":"hello""#).data, b"hello");
    assert!(event("").data.is_empty() && event(r#","data":null"#).data.is_empty());
}

#[test]
fn an_event_in_the_body_is_read_whatever_the_headers_say() {
    let gateway = |name: &str| match name {
        "content-type" => Some("application/cloudevents+json"),
        "ce-specversion" => Some("1.0"),
        "ce-id" => Some("8"),
        _ => None,
    };
    let data = r#""data":{"message":{"messageId":"7","data":"e30="}}"#;
    for version in [r#""1.0""#, "1.0", "1"] {
        let body = format!(r#"{{"specversion":{version},"id":"8",{data}}}"#);
        let message = decode(gateway, body.as_bytes()).unwrap();
        assert_eq!((message.id.as_deref(), &message.data[..]), (Some("7"), &b"{}"[..]), "{version}");
    }
}

#[test]
fn a_batch_is_one_event() {
    let batch = |name: &str| (name == "content-type").then_some("application/cloudevents-batch+json; charset=utf-8");
    for (body, part) in [("[]", "a batch of 0"), (r#"[{"specversion":"1.0"},{"specversion":"1.0"}]"#, "a batch of 2")] {
        let error = decode(batch, body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(decode_plain(body).unwrap_err().to_string().contains("it is an array"));
    }
    assert!(decode(batch, br#"[{"specversion":"1.0","id":"1"}]"#).is_ok());
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
        "[A-Za-z0-9+/=_ -]{0,9}(\\\\n)?",
    ];
    let text = |text: BoxedStrategy<String>| prop_oneof![5 => text.prop_map(|text| format!("\"{text}\"")), 1 => select(&["null", "7", "70000000000000000000007"])];
    let message = (text(data.boxed()), text(id.boxed()), text(time.boxed()), any::<bool>()).prop_map(
        |(data, id, time, snake)| {
            let (id_name, time_name) =
                if snake { ("message_id", "publish_time") } else { ("messageId", "publishTime") };
            format!(r#"{{"data":{data},"{id_name}":{id},"{time_name}":{time},"attributes":{{}}}}"#)
        },
    );
    let wrapped = (message, select(&[r#""projects\/p""#, "null", "7"]), select(&["5", "-1", "1.5", "99999999999"]));
    let wrapped = wrapped.prop_map(|(message, subscription, attempt)| {
        format!(r#"{{"message":{message},"subscription":{subscription},"deliveryAttempt":{attempt}}}"#)
    });
    let structured = (wrapped.clone(), any::<bool>(), select(&["{}", "[{}]", "[{},{}]", "\u{feff}{}"])).prop_map(
        |(data, is_base64, batch)| {
            let data = if is_base64 {
                format!(r#""data_base64":"{}""#, BASE64.encode(data))
            } else {
                format!(r#""data":{data}"#)
            };
            batch.replace("{}", &format!(r#"{{"specversion":"1.0","id":"11",{data}}}"#)).into_bytes()
        },
    );
    let body = prop_oneof![
        4 => wrapped.prop_map(String::into_bytes),
        2 => structured,
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
