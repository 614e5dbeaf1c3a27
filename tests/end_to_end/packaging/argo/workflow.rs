//! As much of Argo's workflow controller as the steps in `deploy/argo` need: their order, `when`, `continueOn`, exit
//! codes and what was printed. It refuses what it does not know, so that nothing in the manifest is passed over.

use std::collections::BTreeMap;

use embedded_kubernetes::ProjectedVolume;
use serde_json::{Value, json};

use crate::packaging::manifests::{CACHE, Manifests};
use crate::packaging::permission::Roles;
use crate::support::ground::Ground;
use crate::support::service_account::LoggedIn;

/// Runs workflows of one WorkflowTemplate.
pub(super) struct Controller {
    ground: Ground,
    template: Value,
    accounts: BTreeMap<String, LoggedIn>,
    /// The namespaces that are scanned: other tests are in the cluster, too.
    namespaces: String,
}

/// What came of a workflow.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// The containers that were run, as `TEMPLATE EXIT-CODE`.
    pub(super) ran: Vec<String>,
    /// What the last of them said on stderr.
    pub(super) stderr: String,
    pub(super) succeeded: bool,
}

/// What is known of a step when it is over.
struct Node {
    exit_code: Option<i32>,
    result: String,
    succeeded: bool,
}

type Variables = BTreeMap<String, String>;

impl Controller {
    pub(super) async fn of(ground: &Ground, manifests: &Manifests, namespaces: &str) -> Self {
        let template = manifests.get("WorkflowTemplate", "pushroll").clone();
        let mut accounts = BTreeMap::new();
        for name in template["spec"]["templates"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["serviceAccountName"].as_str())
        {
            let _ = Roles::of(ground, &manifests.objects, ground.namespace(), name).await;
            accounts.insert(name.to_owned(), ground.log_in(ground.namespace(), name).await);
        }
        Self { ground: ground.clone(), template, accounts, namespaces: namespaces.to_owned() }
    }

    /// Runs a workflow of which this is the `spec`.
    pub(super) async fn run(&self, spec: &Value) -> Finished {
        known(spec, &["entrypoint", "arguments", "workflowTemplateRef"]);
        assert_eq!(spec["workflowTemplateRef"], json!({"name": "pushroll"}));
        let own = &self.template["spec"];
        let mut variables = Variables::new();
        for arguments in [&own["arguments"], &spec["arguments"]] {
            for parameter in arguments["parameters"].as_array().into_iter().flatten() {
                let name = format!("workflow.parameters.{}", parameter["name"].as_str().unwrap());
                variables.insert(name, parameter["value"].as_str().unwrap().to_owned());
            }
        }
        let entrypoint = spec["entrypoint"].as_str().unwrap_or_else(|| own["entrypoint"].as_str().unwrap());
        let mut finished = Finished::default();
        finished.succeeded = Box::pin(self.node(entrypoint, &variables, &mut finished)).await.succeeded;
        finished
    }

    async fn node(&self, name: &str, workflow: &Variables, finished: &mut Finished) -> Node {
        let mut templates = self.template["spec"]["templates"].as_array().unwrap().iter();
        let template = templates.find(|template| template["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        known(template, &["name", "steps", "container", "serviceAccountName"]);
        let Some(groups) = template["steps"].as_array() else {
            return self.container(template, workflow, finished).await;
        };
        let mut variables = workflow.clone();
        let ended = |succeeded| Node { exit_code: None, result: String::new(), succeeded };
        for group in groups {
            let mut failed = false;
            for step in group.as_array().unwrap() {
                known(step, &["name", "template", "when", "continueOn"]);
                if !holds(&substituted(step["when"].as_str().unwrap_or("1 == 1"), &variables)) {
                    continue;
                }
                let node = Box::pin(self.node(step["template"].as_str().unwrap(), workflow, finished)).await;
                let of_step = format!("steps.{}", step["name"].as_str().unwrap());
                if let Some(exit_code) = node.exit_code {
                    variables.insert(format!("{of_step}.exitCode"), exit_code.to_string());
                    variables.insert(format!("{of_step}.outputs.result"), node.result);
                }
                failed |= !node.succeeded && step["continueOn"]["failed"] != true;
            }
            if failed {
                return ended(false);
            }
        }
        ended(true)
    }

    /// A pod of its own, which mounts the ConfigMap as it is now.
    async fn container(&self, template: &Value, variables: &Variables, finished: &mut Finished) -> Node {
        let (name, container) = (template["name"].as_str().unwrap(), &template["container"]);
        assert_eq!((&container["command"], container.get("env")), (&json!(["/pushroll"]), None));
        let mounts = json!([{"name": "cache", "mountPath": "/etc/cache", "readOnly": true}]);
        assert_eq!(container["volumeMounts"], mounts, "where pushroll looks by default");
        let arguments = container["args"].as_array().unwrap().iter();
        let arguments: Vec<_> = arguments.map(|text| substituted(text.as_str().unwrap(), variables)).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mount = self.mounted().await;
        let environment =
            [("PUSHROLL_CACHE_DIR", mount.path().to_str().unwrap()), ("PUSHROLL_NAMESPACES", &self.namespaces)];
        let account = &self.accounts[template["serviceAccountName"].as_str().unwrap()];
        let ran = account.run_with(&arguments, &environment).await;
        finished.ran.push(format!("{name} {}", ran.code));
        finished.stderr = ran.stderr;
        Node { exit_code: Some(ran.code), result: ran.stdout.trim_end().to_owned(), succeeded: ran.code == 0 }
    }

    async fn mounted(&self) -> tempfile::TempDir {
        let volumes = &self.template["spec"]["volumes"];
        assert_eq!(*volumes, json!([{"name": "cache", "configMap": {"name": CACHE, "optional": true}}]));
        let path = format!("/api/v1/namespaces/{}/configmaps/{CACHE}", self.ground.namespace());
        let config_map = self.ground.request("GET", &path, None).await.unwrap_or_default();
        let data = config_map["data"].as_object().into_iter().flatten();
        let files = data.map(|(key, value)| (key.clone(), value.as_str().unwrap().as_bytes().to_vec()));
        let directory = tempfile::tempdir_in(self.ground.directory()).unwrap();
        ProjectedVolume::create(directory.path()).unwrap().write(&files.collect()).unwrap();
        directory
    }
}

fn known(object: &Value, fields: &[&str]) {
    let unknown: Vec<_> = object.as_object().unwrap().keys().filter(|key| !fields.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "this controller does not know {unknown:?} of {object}");
}

/// Argo's simple template tags.
fn substituted(text: &str, variables: &Variables) -> String {
    let text =
        variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
    assert!(!text.contains("{{"), "Argo does not resolve {text}: {variables:?}");
    text
}

/// Comparisons, all of which must hold.
fn holds(when: &str) -> bool {
    when.split("&&").all(|comparison| match (comparison.split_once("=="), comparison.split_once("!=")) {
        (Some((left, right)), None) => left.trim() == right.trim(),
        (None, Some((left, right))) => left.trim() != right.trim(),
        _ => panic!("this controller does not know `{when}`"),
    })
}
