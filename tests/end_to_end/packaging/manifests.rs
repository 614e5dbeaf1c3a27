//! What is in `deploy/`: rendered by kubectl, applied, and moved into namespaces of a test's own.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::support::command::Ran;
use crate::support::control_plane::ADMIN;
use crate::support::ground::Ground;
use crate::support::service_account::LoggedIn;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");

/// Cluster-wide.
pub(super) const BASE: &str = "base";

/// The namespace of pushroll.
pub(super) const NAMESPACE: &str = "pushroll";

/// The cache ConfigMap of the base.
pub(super) const CACHE: &str = "deployment-image-cache";
/// The ConfigMap in which pushes wait, and its Lease.
pub(super) const WAITING: &str = "pushroll-waiting";

/// What kustomize makes of a directory: one of `deploy/`, or an absolute one.
pub(super) struct Manifests {
    pub(super) objects: Vec<Value>,
}

impl Manifests {
    pub(super) fn render(ground: &Ground, directory: &str) -> Self {
        let directory = Path::new(DEPLOY).join(directory);
        Self::parse(&run(ground.real().kubectl_as(ADMIN).arg("kustomize").arg(directory)).stdout)
    }

    pub(super) fn parse(yaml: &str) -> Self {
        let documents = serde_yaml_ng::Deserializer::from_str(yaml);
        Self { objects: documents.map(|document| Value::deserialize(document).unwrap()).collect() }
    }

    /// Renders the base, and applies it as deploy/README.md says, unless another test has.
    pub(super) fn base_applied(ground: &Ground) -> Self {
        static SAID: OnceLock<String> = OnceLock::new();
        let said = SAID.get_or_init(|| {
            let base = format!("{DEPLOY}/{BASE}");
            let ran = run(ground.real().kubectl_as(ADMIN).args(["apply", "--server-side", "-k", &base]));
            ran.stdout + &ran.stderr
        });
        assert!(!said.contains("Warning"), "as of Pod Security: {said}");
        Self::render(ground, BASE)
    }

    /// The same in other namespaces, each `(from, to)`, and what is in none under a name of this test's own: so tests
    /// do not meet.
    pub(super) fn moved(mut self, ground: &Ground, namespaces: &[(&str, &str)]) -> Self {
        let moved = |name: &str| {
            let found = namespaces.iter().find(|(from, _)| *from == name);
            found.unwrap_or_else(|| panic!("where does {name} go?")).1.to_owned()
        };
        let own = |name: &mut Value| *name = json!(format!("{}-{}", name.as_str().unwrap(), ground.namespace()));
        for object in &mut self.objects {
            visit(object, "namespace", &mut |name| *name = json!(moved(name.as_str().unwrap())));
            visit(object, "PUSHROLL_NAMESPACES", &mut |names| {
                let to: Vec<_> = names.as_str().unwrap().split(',').map(moved).collect();
                *names = json!(to.join(","));
            });
            match object["kind"].as_str().unwrap() {
                "Namespace" => {
                    let name = &mut object["metadata"]["name"];
                    *name = json!(moved(name.as_str().unwrap()));
                }
                "ClusterRole" | "PriorityLevelConfiguration" | "ValidatingAdmissionPolicy" => {
                    own(&mut object["metadata"]["name"]);
                }
                "ValidatingAdmissionPolicyBinding" => {
                    own(&mut object["metadata"]["name"]);
                    own(&mut object["spec"]["policyName"]);
                }
                "FlowSchema" => {
                    own(&mut object["metadata"]["name"]);
                    own(&mut object["spec"]["priorityLevelConfiguration"]["name"]);
                }
                "ClusterRoleBinding" => {
                    own(&mut object["metadata"]["name"]);
                    own(&mut object["roleRef"]["name"]);
                }
                _ => {}
            }
        }
        self
    }

    /// Those that `is_kept`.
    pub(super) fn only(mut self, is_kept: impl Fn(&Value) -> bool) -> Self {
        self.objects.retain(is_kept);
        self
    }

    /// Applies them, with every field known to the API server and no warning.
    pub(super) fn apply(&self, ground: &Ground) {
        let file = tempfile::NamedTempFile::new_in(ground.directory()).unwrap();
        std::fs::write(file.path(), json!({"apiVersion": "v1", "kind": "List", "items": self.objects}).to_string())
            .unwrap();
        let mut apply = ground.real().kubectl_as(ADMIN);
        let ran = run(apply.args(["apply", "--server-side", "--validate=strict", "--filename"]).arg(file.path()));
        assert!(!ran.stderr.contains("Warning"), "{}", ran.stderr);
    }

    /// `Kind/name` of each object, sorted; of generated names without the hash.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            let name = if object["kind"] == "ConfigMap" { name.rsplit_once('-').unwrap().0 } else { name };
            format!("{}/{name}", object["kind"].as_str().unwrap())
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

    /// The container of a CronJob.
    pub(super) fn container_of_job(&self, name: &str) -> &Value {
        &self.get("CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    }

    /// Runs what a container runs, with its environment, as the account that its pod would be.
    pub(super) async fn run_container(&self, container: &Value, account: &LoggedIn) -> Ran {
        let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let environment = self.environment(container);
        let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        account.run_with(&arguments.collect::<Vec<_>>(), &environment).await
    }

    /// The environment that a container of these has: its own variables, and those of the ConfigMaps it names.
    pub(super) fn environment(&self, container: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut environment = Vec::new();
        for from in container["envFrom"].as_array().into_iter().flatten() {
            let data = &self.get("ConfigMap", from["configMapRef"]["name"].as_str().unwrap())["data"];
            environment.extend(data.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))));
        }
        let own = container["env"].as_array().into_iter().flatten();
        environment.extend(own.map(|variable| (text(&variable["name"]), text(&variable["value"]))));
        environment
    }
}

/// Every value under `key`, however deep.
fn visit(value: &mut Value, key: &str, change: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key { change(member) } else { visit(member, key, change) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, key, change)),
        _ => {}
    }
}

/// What a program said.
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program, which must succeed.
pub(super) fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ran = Said { stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(output.status.success(), "{command:?}: {}", ran.stderr);
    ran
}
