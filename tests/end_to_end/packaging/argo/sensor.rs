//! As much of Argo Events as `deploy/argo` needs: the event that the EventSource makes of a Pub/Sub message, and what
//! the Sensor makes of the event.

use serde_json::{Value, json};

/// The data of the event, as argo-events 1.9.6 makes it (`pkg/eventsources/sources/gcppubsub/start.go`), with
/// `jsonBody`.
pub(super) fn event(message: &str, published: &str, body: &Value) -> Value {
    json!({"id": message, "body": body, "attributes": {}, "publishTime": published})
}

/// The object that the Sensor creates, unless its filters hold the event back.
pub(super) fn created(sensor: &Value, event_source: &Value, event: &Value) -> Option<Value> {
    let spec = &sensor["spec"];
    let [dependency] = spec["dependencies"].as_array().unwrap().as_slice() else { panic!("one dependency: {spec}") };
    assert_eq!(dependency["eventSourceName"], event_source["metadata"]["name"]);
    let source = &event_source["spec"]["pubSub"][dependency["eventName"].as_str().unwrap()];
    assert_eq!(source["jsonBody"], true, "else the body is base64");
    for filter in dependency["filters"]["data"].as_array().unwrap() {
        assert_eq!(filter["type"], "string");
        let found = at(event, filter["path"].as_str().unwrap()).and_then(Value::as_str)?;
        let values = filter["value"].as_array().unwrap();
        if !values.iter().any(|pattern| matches(pattern.as_str().unwrap(), found)) {
            return None;
        }
    }
    let [trigger] = spec["triggers"].as_array().unwrap().as_slice() else { panic!("one trigger: {spec}") };
    let trigger = &trigger["template"]["k8s"];
    assert_eq!(trigger["operation"], "create");
    let mut object = trigger["source"]["resource"].clone();
    for parameter in trigger["parameters"].as_array().unwrap() {
        assert_eq!(parameter["src"]["dependencyName"], dependency["name"]);
        let value = at(event, parameter["src"]["dataKey"].as_str().unwrap()).unwrap().clone();
        let pointer = format!("/{}", parameter["dest"].as_str().unwrap().replace('.', "/"));
        *object.pointer_mut(&pointer).unwrap() = value;
    }
    Some(object)
}

fn at<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    event.pointer(&format!("/{}", path.replace('.', "/")))
}

/// The regular expressions that the Sensor uses, and no others.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "." => !text.is_empty(),
        "^INSERT$" => text == "INSERT",
        unknown => panic!("say here what {unknown} matches"),
    }
}
