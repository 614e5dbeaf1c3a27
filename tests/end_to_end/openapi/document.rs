//! `openapi.yaml`, read.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

pub const TEXT: &str = include_str!("../../../openapi.yaml");

/// As the tags and the servers of the document name them.
pub(super) const LISTENERS: [&str; 3] = ["public", "internal", "admin"];

pub struct Document(Value);

impl Document {
    pub fn read() -> Self {
        let document: Value = serde_yaml_ng::from_str(TEXT).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
        Self(document)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.0["paths"].as_object().unwrap().keys().cloned()
    }

    /// The methods of a path on a listener; none where it is not there.
    pub(super) fn methods(&self, path: &str, listener: &str) -> Vec<Method> {
        let operations =
            [("get", Method::GET), ("post", Method::POST), ("put", Method::PUT), ("delete", Method::DELETE)];
        let item = &self.0["paths"][path];
        let is_there = |(name, _): &(&str, Method)| {
            let names = |list: &Value, is_it: fn(&Value, &str) -> bool| {
                list.as_array().into_iter().flatten().any(|one| is_it(one, listener))
            };
            let tagged = names(&item[name]["tags"], |tag, listener| tag == listener);
            let served = names(&item["servers"], |server, listener| server["description"] == listener);
            // Tags are for people, servers for programs.
            assert_eq!(tagged, served && !item[name].is_null(), "{listener} {name} {path}");
            tagged
        };
        operations.into_iter().filter(is_there).map(|(_, method)| method).collect()
    }

    /// The operation of a path; for a method that it has not, any one of its operations.
    pub(super) fn operation(&self, path: &str, method: &Method) -> Option<&Value> {
        let item = self.0["paths"].get(path)?;
        let operations = || item.as_object().into_iter().flatten().filter(|(key, _)| *key != "servers");
        let of_the_method = operations().find(|(key, _)| **key == method.as_str().to_lowercase());
        of_the_method.or_else(|| operations().next()).map(|(_, operation)| operation)
    }

    /// Each operation and status.
    pub(super) fn answers(&self) -> BTreeSet<(String, String)> {
        let mut answers = BTreeSet::new();
        for operation in self.operations() {
            let id = operation["operationId"].as_str().unwrap();
            answers.extend(
                operation["responses"].as_object().unwrap().keys().map(|status| (id.to_owned(), status.clone())),
            );
        }
        answers
    }

    fn operations(&self) -> impl Iterator<Item = &Value> {
        let items = self.0["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
        items.filter(|(key, _)| *key != "servers").map(|(_, operation)| operation)
    }

    /// What the service sends to others.
    fn webhooks(&self) -> impl Iterator<Item = &Value> {
        self.0["webhooks"].as_object().unwrap().values().map(|item| &item["post"])
    }

    /// What a `$ref` refers to.
    pub(super) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{reference}"))
            }
            None => value,
        }
    }

    /// Where each example of an answer, a request or a parameter stands, its schema, and itself. A place ends with
    /// the name of the shared example.
    pub(super) fn examples(&self) -> Vec<(String, Value, Value)> {
        let mut found = Vec::new();
        for operation in self.operations().chain(self.webhooks()) {
            let id = operation["operationId"].as_str().unwrap();
            let bodies = operation["responses"].as_object().unwrap().values().chain(operation.get("requestBody"));
            for body in bodies {
                for media in self.resolve(body)["content"].as_object().into_iter().flat_map(|content| content.values())
                {
                    for (name, example) in media["examples"].as_object().into_iter().flatten() {
                        let shared = example["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
                        let place = format!("{id} {}", shared.unwrap_or(name));
                        found.push((place, media["schema"].clone(), self.resolve(example)["value"].clone()));
                    }
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let parameter = self.resolve(parameter);
                if let Some(example) = parameter.get("example") {
                    let place = format!("{id} {}", parameter["name"].as_str().unwrap());
                    found.push((place, parameter["schema"].clone(), example.clone()));
                }
            }
        }
        found
    }

    /// The names of the examples under `components`.
    pub(super) fn shared_examples(&self) -> impl Iterator<Item = &String> {
        self.0["components"]["examples"].as_object().unwrap().keys()
    }

    fn errors(&self, schema: &Value, instance: &Value) -> Vec<String> {
        let root = json!({"allOf": [schema], "components": self.0["components"]});
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
        let validator = options.build(&root).unwrap();
        validator.iter_errors(instance).map(|error| format!("{} at {}", error, error.instance_path())).collect()
    }

    pub(super) fn is_valid(&self, schema: &Value, instance: &Value) -> bool {
        self.errors(schema, instance).is_empty()
    }

    #[track_caller]
    pub fn assert_valid(&self, schema: &Value, instance: &Value, what: &str) {
        let errors = self.errors(schema, instance);
        assert!(errors.is_empty(), "{what}: {errors:#?} in {instance}");
    }
}
