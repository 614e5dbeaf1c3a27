//! LIST: selectors, pages, and what the answer says of itself.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::request::RequestInfo;
use super::resource::ResourceType;
use super::status::Status;
use super::store::{Key, Store};

/// The answer to a LIST, objects still shared with the store: 10,000 are written out without its lock.
#[derive(Debug)]
pub(super) struct List {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<Arc<Value>>,
}

/// One requirement of a `labelSelector` or `fieldSelector`; all must hold.
#[derive(Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// What a LIST or a WATCH is about.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

/// Answers a LIST. All its pages are of the moment of the first, as they are from etcd.
pub(super) fn list(store: &mut Store, resource: &ResourceType, info: &RequestInfo) -> Result<List, Status> {
    let asked_revision = info.revision()?;
    if asked_revision.is_some_and(|asked| asked > store.revision()) {
        return Err(Status::revision_too_large(asked_revision.unwrap_or_default(), store.revision()));
    }
    let (start, snapshot) = match info.option("continue").filter(|token| !token.is_empty()) {
        Some(token) => {
            let (start, revision) = decode_continue(token)?;
            (Some(start), store.snapshot_of(revision).ok_or_else(Status::continue_expired)?)
        }
        None => (None, store.snapshot()),
    };
    // At revision 0 the watch cache answers, and it knows no pages.
    let limit = parse_limit(info)?.filter(|limit| *limit > 0 && asked_revision != Some(0));
    let selectors = Selectors::of(info)?;

    let prefix = Key::prefix(resource, info.namespace.as_deref());
    let mut items = Vec::new();
    let mut last = None;
    let mut remaining = 0_u64;
    for (name, object) in snapshot.list(&prefix, start.as_deref()) {
        if !selectors.select(object) {
            continue;
        }
        if limit.is_some_and(|limit| items.len() as u64 >= limit) {
            remaining += 1;
        } else {
            items.push(Arc::clone(object));
            last = Some(name);
        }
    }
    let mut metadata = json!({ "resourceVersion": snapshot.revision.to_string() });
    if let (Some(last), true) = (last, remaining > 0) {
        metadata["continue"] = json!(encode_continue(last, snapshot.revision));
        if selectors.is_empty() {
            metadata["remainingItemCount"] = json!(remaining);
        }
        store.keep(snapshot);
    }
    Ok(List { kind: format!("{}List", resource.kind), api_version: resource.api_version(), metadata, items })
}

fn parse_limit(info: &RequestInfo) -> Result<Option<u64>, Status> {
    let Some(text) = info.option("limit").filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

fn encode_continue(last: &str, revision: u64) -> String {
    URL_SAFE_NO_PAD.encode(json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": last }).to_string())
}

fn decode_continue(token: &str) -> Result<(String, u64), Status> {
    let invalid =
        |cause: &str| Status::bad_request(format!("invalid continue token: continue key is not valid{cause}"));
    let token = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(&format!(": {error}")))?;
    let read = |token: &[u8]| {
        let token: Value = serde_json::from_slice(token).ok()?;
        Some((token["start"].as_str()?.to_owned(), token["rv"].as_u64()?))
    };
    read(&token).ok_or_else(|| match token.first() {
        Some(b'{') | None => invalid(""),
        Some(byte) => invalid(&format!(": invalid character {:?} looking for beginning of value", char::from(*byte))),
    })
}

fn parse_field_selector(text: &str) -> Result<Vec<Requirement>, Status> {
    let requirements = parse_selector(text)?;
    for requirement in &requirements {
        if !matches!(requirement.key(), "metadata.name" | "metadata.namespace") {
            let message = format!(
                "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                requirement.key()
            );
            return Err(Status::bad_request(message));
        }
    }
    Ok(requirements)
}

/// `a=b,c!=d,e in (f,g),h notin (i),j,!k`
fn parse_selector(text: &str) -> Result<Vec<Requirement>, Status> {
    let parts = split_outside_parentheses(text);
    parts.into_iter().filter(|part| !part.is_empty()).map(Requirement::parse).collect()
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let at_top = move |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(at_top).map(str::trim).collect()
}

// === impl Selectors ===

impl Selectors {
    pub(super) fn of(info: &RequestInfo) -> Result<Self, Status> {
        let labels = parse_selector(info.option("labelSelector").unwrap_or_default())?;
        Ok(Self { labels, fields: parse_field_selector(info.option("fieldSelector").unwrap_or_default())? })
    }

    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn select(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let field = |path: &str| match path {
            "metadata.name" => metadata["name"].as_str(),
            "metadata.namespace" => metadata["namespace"].as_str(),
            _ => None,
        };
        self.labels.iter().all(|one| one.holds(|key| metadata["labels"][key].as_str()))
            && self.fields.iter().all(|one| one.holds(field))
    }
}

// === impl List ===

impl List {
    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            kind: &'a str,
            api_version: &'a str,
            metadata: &'a Value,
            items: Vec<&'a Value>,
        }
        let Self { kind, api_version, metadata, items } = self;
        serde_json::to_vec(&Written { kind, api_version, metadata, items: items.iter().map(AsRef::as_ref).collect() })
    }
}

// === impl Requirement ===

impl Requirement {
    fn parse(text: &str) -> Result<Self, Status> {
        let one = |value: &str| vec![value.trim().to_owned()];
        let set = |values: &str| -> Option<Vec<String>> {
            let inner = values.trim().strip_prefix('(')?.strip_suffix(')')?;
            Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
        };
        let key = |text: &str| text.trim().to_owned();
        let parsed = if let Some((name, value)) = text.split_once("!=") {
            Some(Self::NotIn(key(name), one(value)))
        } else if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            Some(Self::In(key(name), one(value)))
        } else if let Some((name, values)) = text.split_once(" notin ") {
            set(values).map(|values| Self::NotIn(key(name), values))
        } else if let Some((name, values)) = text.split_once(" in ") {
            set(values).map(|values| Self::In(key(name), values))
        } else if let Some(name) = text.strip_prefix('!') {
            Some(Self::Absent(key(name)))
        } else {
            Some(Self::Exists(key(text)))
        };
        let is_key = |key: &str| !key.is_empty() && !key.contains([' ', '(', ')']);
        let parsed = parsed.filter(|requirement| is_key(requirement.key()));
        parsed.ok_or_else(|| {
            let detail = match text.split_whitespace().nth(1) {
                Some(word) => format!("found '{word}', expected: in, notin, =, ==, !=, gt, lt"),
                None => format!("{text:?}"),
            };
            Status::bad_request(format!("unable to parse requirement: {detail}"))
        })
    }

    fn key(&self) -> &str {
        match self {
            Self::In(key, _) | Self::NotIn(key, _) | Self::Exists(key) | Self::Absent(key) => key,
        }
    }

    fn holds<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        let value = value_of(self.key());
        let is_one_of = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        match self {
            Self::In(_, values) => is_one_of(values),
            Self::NotIn(_, values) => !is_one_of(values),
            Self::Exists(_) => value.is_some(),
            Self::Absent(_) => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str) -> bool {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        Selectors { labels: parse_selector(selector).unwrap(), ..Selectors::default() }.select(&object)
    }

    #[test]
    fn selectors_hold_or_do_not() {
        for selector in [
            "",
            "app=web",
            "app==web,tier=front",
            "app!=api",
            "app in (api, web)",
            "app notin (api)",
            "app",
            "!other",
            "other!=x",
        ] {
            assert!(matches(selector), "{selector}");
        }
        for selector in
            ["app=api", "app=web,tier=back", "app!=web", "app in (api)", "app notin (web,api)", "other", "!app"]
        {
            assert!(!matches(selector), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in ["app in web", "app in (web", "=web", "a b"] {
            assert!(parse_selector(selector).is_err(), "{selector}");
        }
        assert!(parse_field_selector("spec.image=x").is_err());
    }
}
