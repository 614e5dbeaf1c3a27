//! The base, rendered by kubectl and applied once.

use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize as _;
use serde_json::Value;

use crate::support::control_plane::ADMIN;
use crate::support::ground::Ground;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base");

/// The namespace of the base.
pub(super) const NAMESPACE: &str = "pushroll";

/// The cache ConfigMap.
pub(super) const CACHE: &str = "deployment-image-cache";

/// What kustomize makes of the base.
pub(super) struct Base {
    objects: Vec<Value>,
}

impl Base {
    pub(super) fn render(ground: &Ground) -> Self {
        let yaml = run(ground.real().kubectl_as(ADMIN).args(["kustomize", BASE])).stdout;
        let documents = serde_yaml_ng::Deserializer::from_str(&yaml);
        Self { objects: documents.map(|document| Value::deserialize(document).unwrap()).collect() }
    }

    /// Renders it, and applies it as deploy/README.md says, unless another test has.
    pub(super) fn applied(ground: &Ground) -> Self {
        static SAID: OnceLock<String> = OnceLock::new();
        let said = SAID.get_or_init(|| {
            let ran = run(ground.real().kubectl_as(ADMIN).args(["apply", "--server-side", "-k", BASE]));
            ran.stdout + &ran.stderr
        });
        assert!(!said.contains("Warning"), "as of Pod Security: {said}");
        Self::render(ground)
    }

    /// `Kind/name` of each object, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        };
        let mut names: Vec<String> = self.objects.iter().map(name).collect();
        names.sort();
        names
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> &Value {
        let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        self.objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    pub(super) fn pod_template(&self) -> &Value {
        &self.get("Deployment", "pushroll")["spec"]["template"]
    }

    pub(super) fn container(&self) -> &Value {
        &self.pod_template()["spec"]["containers"][0]
    }
}

pub(super) struct Ran {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs kubectl, which must succeed.
pub(super) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ran = Ran { stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(output.status.success(), "{command:?}: {}", ran.stderr);
    ran
}
