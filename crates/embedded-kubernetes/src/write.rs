//! Create, replace, patch, delete: the checks of the generic registry, in its order
//! (`apiserver/pkg/endpoints/handlers`, `.../registry/generic/registry/store.go`,
//! `.../registry/rest/{create,update}.go`).

mod object;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::managed_fields::{self, Writer};
use super::patch::Patch;
use super::random::{random_suffix, random_uid};
use super::resource::{Generation, NAMESPACES, ResourceType};
use super::status::{FieldError, Status};
use super::store::{Key, Store};
use super::time::timestamp_seconds;
use super::{defaults, validation};

/// A write: to which object, by whom, and when by the server's clock.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) resource: &'static ResourceType,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
    /// `status`, or nothing.
    pub(super) subresource: Option<&'a str>,
    pub(super) manager: &'a str,
    pub(super) now: Timestamp,
    pub(super) dry_run: bool,
    /// The message of an admission policy against it.
    pub(super) denial: Option<String>,
}

/// What is to take the place of an object.
#[derive(Debug)]
pub(super) enum Change {
    Replace(Value),
    Patch(Patch),
}

/// An answer, and whether it is news that it exists.
#[derive(Debug)]
pub(super) enum Written {
    Created(Arc<Value>),
    Updated(Arc<Value>),
}

/// Every object before it exists: the zero value of its Go type, where structs are there and empty.
/// Ownership of a new object is measured against it.
fn nothing() -> Value {
    json!({
        "metadata": {}, "status": {}, "regarding": {},
        "spec": {
            "selector": null, "strategy": {}, "updateStrategy": {}, "containers": null,
            "template": { "metadata": {}, "spec": { "containers": null } },
        },
    })
}

/// A namespace that is there from the start.
pub(super) fn create_namespace(store: &mut Store, name: &str, now: Timestamp) {
    let write = Write {
        resource: &NAMESPACES,
        namespace: None,
        name,
        subresource: None,
        manager: "kube-apiserver",
        now,
        dry_run: false,
        denial: None,
    };
    let created = write.create(store, json!({ "metadata": { "name": name } }));
    debug_assert!(created.is_ok(), "a namespace of our own: {created:?}");
}

// === impl Write ===

impl Write<'_> {
    pub(super) fn create(&self, store: &mut Store, body: Value) -> Result<Written, Status> {
        let mut object = object::decode(self.resource, body)?;
        object::settle_namespace(self.resource, self.namespace, &mut object)?;
        let metadata = &mut object["metadata"];
        if metadata["name"].is_null()
            && let Some(prefix) = metadata["generateName"].as_str()
        {
            metadata["name"] = json!(format!("{prefix}{}", random_suffix()));
        }
        if metadata.get("resourceVersion").is_some() {
            return Err(Status::unknown("resourceVersion should not be set on objects to be created"));
        }
        metadata["creationTimestamp"] = json!(timestamp_seconds(self.now));
        metadata["uid"] = json!(random_uid());
        defaults::fill_in(self.resource, &mut object);
        managed_fields::update(&nothing(), &mut object, &self.writer());
        if self.resource.generation != Generation::Absent {
            object["metadata"]["generation"] = json!(1);
        }
        object::reset_status(self.resource, &mut object)?;

        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if let Some(namespace) = self.namespace.filter(|_| self.resource.namespaced)
            && store.get(&Key::of(&NAMESPACES, None, namespace)).is_none()
        {
            return Err(Status::not_found(&NAMESPACES, namespace));
        }
        self.validate(&name, &object, None)?;
        let key = Key::of(self.resource, self.namespace, &name);
        if store.get(&key).is_some() {
            return Err(Status::already_exists(self.resource, &name));
        }
        Ok(Written::Created(self.commit(store, key, object)))
    }

    pub(super) fn update(&self, store: &mut Store, change: Change) -> Result<Written, Status> {
        let change = self.checked(change)?;
        let key = self.key();
        let Some(live) = store.get(&key).cloned() else {
            return match change {
                Change::Replace(body) if self.resource.create_on_update => self.create(store, body),
                _ => Err(Status::not_found(self.resource, self.name)),
            };
        };
        let mut new = self.changed(&live, change)?;
        managed_fields::update(&live, &mut new, &self.writer());
        self.check_revision(&live, &mut new)?;
        object::keep_what_is_the_servers(self.resource, self.subresource, &live, &mut new);
        self.validate(self.name, &new, Some(&live))?;
        if let Some(message) = &self.denial {
            return Err(Status::denied(self.resource, self.name, message));
        }
        if object::is_same(&live, &new) {
            return Ok(Written::Updated(live));
        }
        Ok(Written::Updated(self.commit(store, key, new)))
    }

    /// `options` is the body: `DeleteOptions`, or nothing.
    pub(super) fn delete(&self, store: &mut Store, options: &Value) -> Result<Value, Status> {
        let key = self.key();
        let live = store.get(&key).cloned().ok_or_else(|| Status::not_found(self.resource, self.name))?;
        for field in ["uid", "resourceVersion"] {
            let (wanted, found) = (&options["preconditions"][field], &live["metadata"][field]);
            if !wanted.is_null() && wanted != found {
                let label = if field == "uid" { "UID" } else { "ResourceVersion" };
                let cause = format!(
                    "the {label} in the precondition ({}) does not match the {label} in record ({}). The object might have been \
                     deleted and then recreated",
                    wanted.as_str().unwrap_or_default(),
                    found.as_str().unwrap_or_default()
                );
                return Err(Status::conflict_of_kind(self.resource, self.name, &cause));
            }
        }
        if let Some(seconds) = object::grace_period(self.resource, &live, options) {
            return Ok(self.begin_deletion(store, key, &live, seconds));
        }
        if !self.dry_run {
            store.delete(&key);
            if self.resource.kind == "Namespace" {
                store.empty_namespace(self.name);
            }
        }
        let mut details = json!({ "name": self.name, "kind": self.resource.plural, "uid": live["metadata"]["uid"] });
        if !self.resource.group.is_empty() {
            details["group"] = json!(self.resource.group);
        }
        Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details }))
    }

    /// A pod on a node is marked, and its node removes it. The answer is the pod.
    fn begin_deletion(&self, store: &mut Store, key: Key, live: &Arc<Value>, seconds: i64) -> Value {
        let mut pod = Value::clone(live);
        let is_marked = !pod["metadata"]["deletionTimestamp"].is_null();
        if !is_marked {
            let end = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(self.now);
            pod["metadata"]["deletionTimestamp"] = json!(timestamp_seconds(end));
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
            pod = Value::clone(&self.commit(store, key, pod));
        }
        pod["kind"] = json!(self.resource.kind);
        pod["apiVersion"] = json!(self.api_version());
        pod
    }

    fn key(&self) -> Key {
        Key::of(self.resource, self.namespace, self.name)
    }

    fn writer(&self) -> Writer<'_> {
        Writer { manager: self.manager, api_version: self.api_version(), subresource: self.subresource, now: self.now }
    }

    fn api_version(&self) -> String {
        self.resource.api_version()
    }

    /// A replacement must be addressed to the object in the path, before anything is looked up.
    fn checked(&self, change: Change) -> Result<Change, Status> {
        let Change::Replace(body) = change else { return Ok(change) };
        let mut object = object::decode(self.resource, body)?;
        object::settle_namespace(self.resource, self.namespace, &mut object)?;
        object::check_name(self.name, &object)?;
        Ok(Change::Replace(object))
    }

    /// The object as the request wants it, and defaulted.
    fn changed(&self, live: &Value, change: Change) -> Result<Value, Status> {
        let wanted = match change {
            Change::Replace(object) => {
                let uid = &object["metadata"]["uid"];
                if !uid.is_null() && *uid != live["metadata"]["uid"] {
                    let cause = format!(
                        "StorageError: invalid object, Code: 4, Key: /registry/{}, ResourceVersion: 0, AdditionalErrorMsg: \
                         Precondition failed: UID in precondition: {}, UID in object meta: {}",
                        self.key(),
                        uid.as_str().unwrap_or_default(),
                        live["metadata"]["uid"].as_str().unwrap_or_default()
                    );
                    return Err(Status::conflict(self.resource, self.name, &cause));
                }
                object
            }
            Change::Patch(patch) => {
                let mut object = live.clone();
                object["kind"] = json!(self.resource.kind);
                object["apiVersion"] = json!(self.api_version());
                patch.apply(&mut object)?;
                let shown = object.to_string();
                let mut object =
                    object::decode(self.resource, object).map_err(|error| Status::invalid_patch(&shown, &error))?;
                object::settle_namespace(self.resource, self.namespace, &mut object)?;
                object::check_name(self.name, &object)?;
                object
            }
        };
        let mut new = match self.subresource {
            // Through the door of the status, the status and the annotations come in.
            Some(_) => {
                let mut new = live.clone();
                new["status"] = wanted["status"].clone();
                if let Some(annotations) = wanted["metadata"].get("annotations") {
                    new["metadata"]["annotations"] = annotations.clone();
                } else if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.remove("annotations");
                }
                new["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"].clone();
                new
            }
            None => wanted,
        };
        defaults::fill_in(self.resource, &mut new);
        Ok(new)
    }

    /// Optimistic locking: a revision that is sent must be the object's own.
    fn check_revision(&self, live: &Value, new: &mut Value) -> Result<(), Status> {
        let own = &live["metadata"]["resourceVersion"];
        let sent = &mut new["metadata"]["resourceVersion"];
        match sent.as_str() {
            None | Some("" | "0") if self.resource.unconditional_update => *sent = own.clone(),
            None | Some("" | "0") => {
                let error =
                    FieldError::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
                return Err(Status::invalid_plural(self.resource, self.name, &[error]));
            }
            Some(_) if sent == own => {}
            Some(text) if text.parse::<u64>().is_err() => {
                return Err(Status::unknown(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")));
            }
            Some(_) => return Err(Status::modified_meanwhile(self.resource, self.name)),
        }
        Ok(())
    }

    fn validate(&self, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let errors = validation::errors_of(self.resource, new, old);
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid(self.resource, name, &errors)) }
    }

    fn commit(&self, store: &mut Store, key: Key, object: Value) -> Arc<Value> {
        if self.dry_run { Arc::new(object) } else { store.put(key, object) }
    }
}
