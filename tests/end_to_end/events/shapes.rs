//! The shapes of a delivery: as Pub/Sub and Eventarc write them, and as people and other programs do.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::fixtures::PushMessage;

pub type Headers = Vec<(&'static str, String)>;

/// A way to deliver a message: what it is called, its headers and its body.
pub type Shape = (&'static str, fn(&PushMessage) -> (Headers, Vec<u8>));

pub fn json_type() -> Headers {
    vec![("content-type", "application/json".to_owned())]
}

/// The wrapped body after a change of its JSON.
pub fn changed(message: &PushMessage, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut body = serde_json::from_str(&message.body()).unwrap();
    change(&mut body);
    body.to_string().into_bytes()
}

pub fn without(message: &PushMessage, fields: &[&str]) -> Vec<u8> {
    changed(message, |body| {
        fields.iter().for_each(|field| drop(body["message"].as_object_mut().unwrap().remove(*field)))
    })
}

pub fn metadata(message: &PushMessage) -> Headers {
    vec![
        ("x-goog-pubsub-subscription-name", "projects/p/subscriptions/s".to_owned()),
        ("x-goog-pubsub-message-id", message.id.clone()),
        ("x-goog-pubsub-publish-time", format!("{:.3}", message.published)),
        ("x-goog-pubsub-ordering-key", "o".to_owned()),
        ("an-attribute", "of the message".to_owned()),
    ]
}

pub fn cloud_event(message: &PushMessage) -> Headers {
    vec![
        ("content-type", "application/json".to_owned()),
        ("ce-id", message.id.clone()),
        ("ce-source", "//pubsub.googleapis.com/projects/p/topics/gcr".to_owned()),
        ("ce-specversion", "1.0".to_owned()),
        ("ce-type", "google.cloud.pubsub.topic.v1.messagePublished".to_owned()),
        ("ce-time", format!("{:.3}", message.published)),
    ]
}

/// The wrapped body with the payload encoded in another way; the payload has what the alphabets differ in.
pub fn encoded(message: &PushMessage, encode: impl Fn(&str) -> String) -> Vec<u8> {
    let mut payload = message.payload();
    payload["note"] = json!("?>".repeat(40));
    let payload = payload.to_string();
    assert!(STANDARD.encode(&payload).contains('/'));
    changed(message, |body| body["message"]["data"] = json!(encode(&payload)))
}

/// Standard base64 in lines, as `base64` prints it.
pub fn in_lines(payload: &str) -> String {
    let data = STANDARD.encode(payload);
    let lines: Vec<_> = data.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\n") + "\n"
}

/// A CloudEvent in structured mode, with this as its data.
pub fn structured(message: &PushMessage, data: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub.googleapis.com/projects/p/topics/gcr", "datacontenttype": "application/json",
        "id": message.id, "time": format!("{:.3}", message.published),
    });
    event.as_object_mut().unwrap().append(&mut data.as_object().unwrap().clone());
    event
}

pub fn content_type(value: &str) -> Headers {
    vec![("content-type", value.to_owned())]
}

/// As people, brokers and other programs write them.
pub fn hand_made_shapes() -> Vec<Shape> {
    vec![
        ("base64 in lines", |m| (json_type(), encoded(m, in_lines))),
        ("base64 in lines of Windows", |m| (json_type(), encoded(m, |p| in_lines(p).replace('\n', "\r\n")))),
        ("base64 of URLs", |m| (json_type(), encoded(m, |p| URL_SAFE.encode(p)))),
        ("base64 of URLs without padding", |m| (json_type(), encoded(m, |p| URL_SAFE_NO_PAD.encode(p)))),
        ("the id as a number", |m| {
            let id: u64 = m.id.parse().unwrap();
            let body = changed(m, |body| body["message"]["messageId"] = json!(id));
            (json_type(), body)
        }),
        ("the id as a number, snake case alone", |m| {
            let id: u64 = m.id.parse().unwrap();
            let body = without(m, &["messageId", "publishTime"]);
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            body["message"]["message_id"] = json!(id);
            (json_type(), body.to_string().into_bytes())
        }),
        ("one spelling empty, spaces around the other", |m| {
            let body = changed(m, |body| {
                body["message"]["messageId"] = json!("");
                body["message"]["message_id"] = json!(format!(" {}\n", m.id));
                body["message"]["publishTime"] = json!("");
                body["message"]["publish_time"] = json!(format!(" {:.3} ", m.published));
            });
            (json_type(), body)
        }),
        ("a byte order mark", |m| (json_type(), format!("\u{feff}{}\n", m.body()).into_bytes())),
        ("a byte order mark in the payload", |m| {
            let data = STANDARD.encode(format!("\u{feff}{}", m.payload()));
            (json_type(), changed(m, |body| body["message"]["data"] = json!(data)))
        }),
        ("a structured CloudEvent", |m| {
            let body: Value = serde_json::from_str(&m.body()).unwrap();
            let event = structured(m, json!({"data": body}));
            (content_type("application/cloudevents+json; charset=UTF-8"), event.to_string().into_bytes())
        }),
        ("a structured CloudEvent, id and time in its attributes alone", |m| {
            let body = without(m, &["messageId", "message_id", "publishTime", "publish_time"]);
            let event = structured(m, json!({"data": serde_json::from_slice::<Value>(&body).unwrap()}));
            (content_type("application/cloudevents+json"), event.to_string().into_bytes())
        }),
        ("a structured CloudEvent, data in base64", |m| {
            let event = structured(m, json!({"data_base64": STANDARD.encode(m.body())}));
            (content_type("application/cloudevents+json"), event.to_string().into_bytes())
        }),
        ("a structured CloudEvent around the payload", |m| {
            let event = structured(m, json!({"data": m.payload()}));
            (content_type("application/cloudevents+json"), event.to_string().into_bytes())
        }),
        ("a structured CloudEvent by hand", |m| {
            let event = structured(m, json!({"data": m.body(), "id": m.id.parse::<u64>().unwrap()}));
            (json_type(), format!("\u{feff}{event}").into_bytes())
        }),
        ("a batch of one CloudEvent", |m| {
            let body: Value = serde_json::from_str(&m.body()).unwrap();
            let batch = json!([structured(m, json!({"data": body}))]);
            (content_type("application/cloudevents-batch+json"), batch.to_string().into_bytes())
        }),
    ]
}

pub fn shapes() -> Vec<Shape> {
    vec![
        ("wrapped, both spellings", |m| (json_type(), m.body().into_bytes())),
        ("wrapped, camel case alone", |m| (json_type(), without(m, &["message_id", "publish_time"]))),
        ("wrapped, snake case alone", |m| (json_type(), without(m, &["messageId", "publishTime"]))),
        ("wrapped, one spelling of each", |m| (json_type(), without(m, &["messageId", "publish_time"]))),
        ("wrapped, slashes escaped, in base64 too", |m| {
            let mut payload = m.payload();
            payload["note"] = json!("?".repeat(40));
            let data = STANDARD.encode(payload.to_string());
            assert!(data.contains('/'), "{data}");
            let body = changed(m, |body| body["message"]["data"] = json!(data));
            (json_type(), String::from_utf8(body).unwrap().replace('/', "\\/").into_bytes())
        }),
        ("wrapped, base64 without padding", |m| {
            let mut payload = m.payload().to_string();
            payload.push_str(&" ".repeat(3 - payload.len() % 3 + 1));
            assert_ne!(payload.len() % 3, 0, "there is padding to leave out");
            let data = STANDARD_NO_PAD.encode(payload);
            (json_type(), changed(m, |body| body["message"]["data"] = json!(data)))
        }),
        ("wrapped, no attributes", |m| (json_type(), without(m, &["attributes"]))),
        ("wrapped, null attributes and no subscription", |m| {
            let body = changed(m, |body| {
                body["message"]["attributes"] = json!(null);
                body.as_object_mut().unwrap().remove("subscription");
            });
            (json_type(), body)
        }),
        ("wrapped, fields that nobody knows", |m| {
            let body = changed(m, |body| {
                body["x"] = json!({"deep": [1, {"message": null}]});
                body["message"]["y"] = json!([[["z"]]]);
                body["message"]["orderingKey"] = json!("key");
                body["message"]["attributes"] = json!({"ключ": "значение 🦀 \"q\" \\ \n <&> \u{2028}", "data": "e30="});
                body["deliveryAttempt"] = json!(5);
            });
            (json_type(), body)
        }),
        ("wrapped, spread over lines", |m| {
            let body: Value = serde_json::from_str(&m.body()).unwrap();
            (json_type(), format!("\r\n {} \n", serde_json::to_string_pretty(&body).unwrap()).into_bytes())
        }),
        ("wrapped, no content type", |m| (Vec::new(), m.body().into_bytes())),
        ("wrapped, another content type", |m| {
            (vec![("content-type", "application/x-www-form-urlencoded".to_owned())], m.body().into_bytes())
        }),
        ("wrapped, no content type at all but a word", |m| {
            (vec![("content-type", ";;; nonsense".to_owned())], m.body().into_bytes())
        }),
        ("unwrapped with metadata", |m| (metadata(m), m.payload().to_string().into_bytes())),
        ("unwrapped with metadata and a form's content type", |m| {
            let mut headers = metadata(m);
            headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
            (headers, m.payload().to_string().into_bytes())
        }),
        ("Eventarc", |m| (cloud_event(m), m.body().into_bytes())),
        ("Eventarc, id and time in headers alone", |m| {
            (cloud_event(m), without(m, &["messageId", "message_id", "publishTime", "publish_time"]))
        }),
        ("unwrapped without metadata", |m| (json_type(), m.payload().to_string().into_bytes())),
        ("unwrapped without metadata, no content type", |m| (Vec::new(), m.payload().to_string().into_bytes())),
    ]
}
