//! Method and path to verb, resource, namespace and name
//! (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`), and the query's options.

use std::collections::HashMap;

use axum::extract::Query;
use http::header::{AUTHORIZATION, HeaderName, USER_AGENT};
use http::request::Parts;

use super::resource::{self, ResourceType};
use super::status::Status;

/// What is asked, before anything is looked up.
#[derive(Debug)]
pub(super) struct RequestInfo {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) version: String,
    /// Empty for paths that are no resource.
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    pub(super) options: HashMap<String, String>,
}

/// One request as the audit log would name it, recorded before it was handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the method
    /// in lower case for paths that are no resource.
    pub verb: String,
    /// The plural, with `/subresource` where there is one; empty for paths such as `/version`.
    pub resource: String,
    /// The namespace in the path.
    pub namespace: Option<String>,
    /// The object's name in the path.
    pub name: Option<String>,
    /// Path and query.
    pub uri: String,
    /// The `User-Agent` header, or empty.
    pub user_agent: String,
}

// === impl RequestInfo ===

impl RequestInfo {
    pub(super) fn of(parts: &Parts) -> Self {
        let options = Query::try_from_uri(&parts.uri).map(|Query(options)| options).unwrap_or_default();
        let method = parts.method.as_str().to_ascii_lowercase();
        let mut info = Self {
            verb: method,
            group: String::new(),
            version: String::new(),
            plural: String::new(),
            namespace: None,
            name: None,
            subresource: None,
            options,
        };
        let segments: Vec<&str> = parts.uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let rest = match segments.as_slice() {
            ["api", version, rest @ ..] => {
                info.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] => {
                info.group = (*group).to_owned();
                info.version = (*version).to_owned();
                rest
            }
            _ => &[],
        };
        info.set_resource(rest);
        if !info.plural.is_empty() {
            info.verb = info.resource_verb();
        }
        info
    }

    fn set_resource(&mut self, segments: &[&str]) {
        let rest = match segments {
            // The namespace itself, or something in it.
            ["namespaces", namespace, rest @ ..] => {
                self.namespace = Some((*namespace).to_owned());
                match rest {
                    [] | ["status" | "finalize"] => segments,
                    rest => rest,
                }
            }
            rest => rest,
        };
        let owned = |index: usize| rest.get(index).map(|segment| (*segment).to_owned());
        self.plural = owned(0).unwrap_or_default();
        self.name = owned(1);
        self.subresource = owned(2);
    }

    fn resource_verb(&self) -> String {
        let verb = match (self.verb.as_str(), &self.name) {
            ("get" | "head", _) if self.is_watch() => "watch",
            ("get" | "head", None) => "list",
            ("get" | "head", Some(_)) => "get",
            ("post", _) => "create",
            ("put", _) => "update",
            ("delete", None) => "deletecollection",
            (other, _) => other,
        };
        verb.to_owned()
    }

    fn is_watch(&self) -> bool {
        self.option("watch").is_some_and(|watch| matches!(watch, "" | "1" | "true"))
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// `?resourceVersion=`
    pub(super) fn revision(&self) -> Result<Option<u64>, Status> {
        let Some(text) = self.option("resourceVersion").filter(|text| !text.is_empty()) else { return Ok(None) };
        let cause = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let message = format!("invalid resource version: resourceVersion: Invalid value: {text:?}: {cause}");
        text.parse().map(Some).map_err(|_| Status::bad_request(message))
    }

    /// The kind asked for, when it is one that is served.
    pub(super) fn resource_type(&self) -> Result<&'static ResourceType, Status> {
        resource::find(&self.group, &self.version, &self.plural).ok_or_else(Status::no_such_path)
    }

    /// As the audit log would have it.
    pub(super) fn api_call(&self, parts: &Parts) -> ApiCall {
        let resource = match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.plural),
            None => self.plural.clone(),
        };
        ApiCall {
            verb: self.verb.clone(),
            resource,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            user_agent: header(parts, &USER_AGENT).to_owned(),
        }
    }

    /// `?fieldManager=`, else the first part of the user agent (`managerOrUserAgent`).
    pub(super) fn field_manager(&self, parts: &Parts) -> String {
        let from_agent = || header(parts, &USER_AGENT).split('/').next();
        let manager = self.option("fieldManager").filter(|manager| !manager.is_empty()).or_else(from_agent);
        manager.filter(|manager| !manager.is_empty()).unwrap_or("unknown").to_owned()
    }
}

/// The user: the bearer token itself.
pub(super) fn user(parts: &Parts) -> &str {
    header(parts, &AUTHORIZATION).strip_prefix("Bearer ").unwrap_or("anonymous")
}

/// A header's text; empty where there is none.
pub(super) fn header<'a>(parts: &'a Parts, name: &HeaderName) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
