//! The service under exactly the service account of the base: with its permissions it does its work, each of them is
//! used, and without any one of them something fails with a sentence that names it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::base::{Base, CACHE, NAMESPACE, run};
use super::stage::{Stage, new_push};
use crate::support::control_plane::{ADMIN, SERVICE_ACCOUNT};
use crate::support::fixtures::config_map;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const GROUPS: [&str; 3] = ["system:serviceaccounts", "system:serviceaccounts:pushroll", "system:authenticated"];

pub fn tests(suite: &mut Suite) {
    // One test: it takes permissions away, and there is one service account.
    suite.on_control_plane("each_permission_of_the_base_is_needed_and_enough", each_permission_is_needed_and_enough);
}

async fn each_permission_is_needed_and_enough(ground: Ground) {
    let base = Base::applied(&ground);
    assert_is_the_service_account(&ground);
    let stage = Stage::set(ground).await;
    assert_nothing_else_is_permitted(&stage.ground).await;
    stage.play_everything().await;
    assert_eq!(stage.used(), granted(&base), "what the service asked for, and what it is permitted");
    for permission in permissions(&base) {
        let rules = permission.role["rules"].clone();
        permission.set_rules(&stage.ground, permission.rules_without(), false).await;
        stage.assert_missed(&permission).await;
        permission.set_rules(&stage.ground, rules, true).await;
    }
    stage.play_everything().await;
}

/// The user of the tests' token is who a pod of the base would be.
fn assert_is_the_service_account(ground: &Ground) {
    let plane = ground.real();
    let who = |token: &str| {
        let mut whoami = plane.kubectl_as("nobody");
        let ran = run(whoami.args(["--token", token, "auth", "whoami", "-o", "json"]));
        let user = serde_json::from_str::<Value>(&ran.stdout).unwrap()["status"]["userInfo"].clone();
        let groups = user["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap().to_owned());
        (user["username"].as_str().unwrap().to_owned(), groups.collect::<BTreeSet<_>>())
    };
    let mut create = plane.kubectl_as(ADMIN);
    let genuine = run(create.args(["--namespace", NAMESPACE, "create", "token", "pushroll"])).stdout;
    let expected = (SERVICE_ACCOUNT.to_owned(), GROUPS.map(str::to_owned).into());
    assert_eq!(who(genuine.trim()), expected);
    assert_eq!(who(&plane.token(SERVICE_ACCOUNT)), expected);
}

/// Whether the service account may: `resource` with its group behind a dot, a name, a namespace (or all).
async fn may(ground: &Ground, verb: &str, resource: &str, name: &str, namespace: &str) -> bool {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let attributes = json!({"verb": verb, "resource": resource, "group": group, "name": name, "namespace": namespace});
    let review = json!({"spec": {"user": SERVICE_ACCOUNT, "groups": GROUPS, "resourceAttributes": attributes}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    ground.request("POST", path, Some(review)).await.unwrap()["status"]["allowed"].as_bool().unwrap()
}

async fn assert_nothing_else_is_permitted(ground: &Ground) {
    for (verb, resource, name, namespace) in [
        ("get", "secrets", "", NAMESPACE),
        ("list", "configmaps", "", NAMESPACE),
        ("get", "configmaps", "another", NAMESPACE),
        ("patch", "configmaps", "another", NAMESPACE),
        ("delete", "configmaps", CACHE, NAMESPACE),
        ("get", "configmaps", CACHE, "default"),
        ("create", "configmaps", "", "default"),
        ("list", "pods", "", ""),
        ("create", "pods", "", NAMESPACE),
        ("create", "pods/exec", "", ""),
        ("create", "deployments.apps", "", ""),
        ("update", "deployments.apps", "", ""),
        ("delete", "deployments.apps", "", ""),
        ("patch", "deployments.apps/scale", "", ""),
        ("patch", "clusterroles.rbac.authorization.k8s.io", "", ""),
        ("create", "serviceaccounts/token", "", NAMESPACE),
    ] {
        assert!(!may(ground, verb, resource, name, namespace).await, "{verb} {resource} {name} in {namespace}");
    }
}

/// One verb of one rule of one role.
struct Permission<'a> {
    role: &'a Value,
    rule: usize,
    verb: &'a str,
}

fn permissions(base: &Base) -> Vec<Permission<'_>> {
    let mut permissions = Vec::new();
    for role in base.of_kind("ClusterRole").chain(base.of_kind("Role")) {
        for (rule, found) in role["rules"].as_array().unwrap().iter().enumerate() {
            let verbs = found["verbs"].as_array().unwrap().iter();
            permissions.extend(verbs.map(|verb| Permission { role, rule, verb: verb.as_str().unwrap() }));
        }
    }
    permissions
}

/// `verb resource` of everything that is permitted.
fn granted(base: &Base) -> BTreeSet<String> {
    let told = |permission: &Permission<'_>| {
        permission.resources().map(|resource| format!("{} {resource}", permission.verb)).collect::<Vec<_>>()
    };
    permissions(base).iter().flat_map(told).collect()
}

impl Permission<'_> {
    fn of_the_rule(&self) -> &Value {
        &self.role["rules"][self.rule]
    }

    fn resources(&self) -> impl Iterator<Item = &str> {
        self.of_the_rule()["resources"].as_array().unwrap().iter().map(|resource| resource.as_str().unwrap())
    }

    fn rules_without(&self) -> Value {
        let mut rules = self.role["rules"].clone();
        rules[self.rule]["verbs"].as_array_mut().unwrap().retain(|verb| verb != self.verb);
        rules
    }

    /// Writes the role's rules, and waits until the API server goes by them.
    async fn set_rules(&self, ground: &Ground, mut rules: Value, permitted: bool) {
        rules.as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!([]));
        let (kind, name) = (self.role["kind"].as_str().unwrap(), self.role["metadata"]["name"].as_str().unwrap());
        let namespace = if kind == "Role" { NAMESPACE } else { "" };
        let home = if kind == "Role" { format!("namespaces/{NAMESPACE}/") } else { String::new() };
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{home}{}s/{name}", kind.to_lowercase());
        ground.request("PATCH", &path, Some(json!({"rules": rules}))).await.unwrap();
        let group = self.of_the_rule()["apiGroups"][0].as_str().unwrap();
        let object = self.of_the_rule()["resourceNames"][0].as_str().unwrap_or_default();
        for resource in self.resources() {
            let resource = format!("{resource}.{group}");
            eventually("RBAC follows the role", async || {
                (may(ground, self.verb, &resource, object, namespace).await == permitted).then_some(())
            })
            .await;
        }
    }
}

impl Stage {
    /// What fails without it, and where that is said.
    async fn assert_missed(&self, permission: &Permission<'_>) {
        let role = permission.role["metadata"]["name"].as_str().unwrap();
        let resource = permission.resources().next().unwrap();
        let missed = format!("cannot {} resource", permission.verb);
        match (role, resource, permission.verb) {
            ("pushroll-reader", "deployments", "list") => {
                self.delete_cache().await;
                let service = self.start().await;
                let error = |status: &Value| status["tiers"]["scan"]["error"].as_str().unwrap_or_default().to_owned();
                let status = service.wait_for_status("the scan fails", |status| !error(status).is_empty()).await;
                assert!(error(&status).contains(&missed) && error(&status).contains("apps"), "{status}");
                assert_eq!(get(&format!("{}/readyz", service.internal)).await.status, 503);
                self.assert_push_fails(&service, &missed, |answer| answer["reason"].clone()).await;
            }
            ("pushroll-reader" | "pushroll-restarter", "deployments", "get" | "patch") => {
                let service = self.start_ready().await;
                let before = self.generations().await;
                self.assert_push_fails(&service, &missed, |answer| {
                    let workloads = answer["workloads"].as_array().unwrap();
                    assert_eq!(workloads.len(), 3, "{answer}");
                    for workload in workloads {
                        let resource = format!("{}s", workload["kind"].as_str().unwrap().to_lowercase());
                        let missed = format!("{missed} \"{resource}\" in API group \"apps\" in the namespace");
                        assert_eq!(workload["code"], "forbidden", "{answer}");
                        assert!(workload["reason"].as_str().unwrap().contains(&missed), "{answer}");
                    }
                    answer["detail"].clone()
                })
                .await;
                assert_eq!(self.generations().await, before);
            }
            ("pushroll-restarter", "events", verb) => {
                let service = self.start_ready().await;
                for _ in 0..2 {
                    let answer = service.push(&new_push(&self.frozen_image)).await;
                    assert_eq!(answer.json()["workloads"][0]["code"], "denied", "{}", answer.text());
                    if verb == "patch" {
                        self.event().await;
                    }
                }
                let missed = format!("{missed} \"events\" in API group \"events.k8s.io\"");
                let is_said = |line: &Value| {
                    let message = line["message"].as_str().unwrap_or_default();
                    message.contains("the Event was not written") && message.contains(&missed)
                };
                eventually("the log says it", async || service.log().iter().any(is_said).then_some(())).await;
                self.delete_events().await;
            }
            ("pushroll-cache", "configmaps", "get") => {
                let service = self.start_ready().await;
                let error =
                    |status: &Value| status["tiers"]["configmap"]["error"].as_str().unwrap_or_default().to_owned();
                let status = service.wait_for_status("it is said", |status| !error(status).is_empty()).await;
                assert!(error(&status).contains(&format!("{missed} \"configmaps\"")), "{status}");
                assert_eq!(status["index"]["tier"], "scan", "a scan in its place");
            }
            ("pushroll-cache", "configmaps", "patch" | "create") => {
                if permission.verb == "create" {
                    self.delete_cache().await;
                }
                let service = self.start_ready().await;
                let (status, problem) = self.rebuild(&service).await;
                let detail = problem["detail"].as_str().unwrap();
                assert!(status == 503 && detail.contains(&format!("{missed} \"configmaps\"")), "{status} {problem}");
                let answer = service.push(&new_push(&self.image)).await;
                assert_eq!(answer.json()["outcome"], "restarted", "pushes go on: {}", answer.text());
                let cache = config_map(NAMESPACE, CACHE, "cache.json", "{}");
                if permission.verb == "create" {
                    // By hand, with any content, as deploy/README.md says.
                    self.ground.create(&cache).await;
                    let (status, rebuilt) = self.rebuild(&service).await;
                    assert_eq!((status, &rebuilt["result"]), (200, &json!("changed")), "{rebuilt}");
                }
            }
            unknown => panic!("say here what fails without {unknown:?}"),
        }
    }

    async fn assert_push_fails(&self, service: &Service, missed: &str, reason: impl Fn(&Value) -> Value) {
        let answer = service.push(&new_push(&self.image)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")), "{}", answer.text());
        let reason = reason(&answer.json());
        assert!(reason.as_str().unwrap().contains(missed), "{missed}: {}", answer.text());
    }
}
