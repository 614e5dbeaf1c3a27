//! The audit log of the API server: which calls a user made, counted by the
//! server itself.

use std::{fs, path::Path};

use anyhow::Context;
use embedded_kubernetes::ApiCall;
use serde_json::{Value, json};

/// The policy to run the API server with. The daemons' own calls are left out:
/// nobody asks for them, and they would be most of the log.
pub(super) fn policy(daemons: &[&str]) -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["ResponseStarted"],
        "rules": [
            { "level": "None", "users": daemons },
            { "level": "None", "users": ["system:apiserver", "system:anonymous"] },
            { "level": "Metadata" },
        ],
    })
}

/// The calls of `user`, in the order of their arrival.
///
/// The API server writes the line of a call before it handles the call: when a
/// client has its answer, the line is in the file.
pub(super) fn api_calls(log: &Path, user: &str) -> anyhow::Result<Vec<ApiCall>> {
    let bytes = fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    // What follows the last line feed is still being written.
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    // The log is long, and parsing JSON is slow in a debug build.
    let needle = format!(r#""username":"{user}""#);
    text.lines()
        .filter(|line| line.contains(&needle) && line.contains(r#""stage":"RequestReceived""#))
        .map(|line| {
            let event: Value = serde_json::from_str(line).with_context(|| format!("an audit event: {line}"))?;
            Ok((event["user"]["username"] == user).then(|| api_call(&event)))
        })
        .filter_map(Result::transpose)
        .collect()
}

fn api_call(event: &Value) -> ApiCall {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let object = &event["objectRef"];
    let mut resource = text(&object["resource"]).unwrap_or_default();
    if let Some(subresource) = object["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    ApiCall {
        verb: text(&event["verb"]).unwrap_or_default(),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        uri: text(&event["requestURI"]).unwrap_or_default(),
        user_agent: text(&event["userAgent"]).unwrap_or_default(),
    }
}
