//! The service under exactly the service account of the base: with its permissions it does its work, each of them is
//! used, and without any one of them something fails with a sentence that names it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::{CACHE, Manifests, NAMESPACE, WAITING, run};
use super::permission::{Account, Permission, Roles};
use super::stage::{Stage, new_push};
use crate::support::command;
use crate::support::control_plane::{ADMIN, SERVICE_ACCOUNT};
use crate::support::fixtures::config_map;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    // One test: it takes permissions away, and there is one service account.
    suite.on_control_plane(each_permission_of_the_base_is_needed_and_enough);
}

async fn each_permission_of_the_base_is_needed_and_enough(ground: Ground) {
    let base = Manifests::base_applied(&ground);
    assert_is_the_service_account(&ground);
    let roles = Roles::of(&ground, &base.objects, NAMESPACE, "pushroll").await;
    let stage = Stage::set(ground).await;
    assert_nothing_else_is_permitted(&stage.ground).await;
    stage.play_everything().await;
    let permissions = roles.permissions();
    let granted: BTreeSet<_> = permissions.iter().map(Permission::verb_and_resource).collect();
    assert_eq!(stage.used(), granted, "what the service asked for, and what it is permitted");
    for permission in &permissions {
        roles.take(permission).await;
        stage.assert_missed(permission).await;
        roles.give_back(permission).await;
    }
    stage.play_everything().await;
}

fn account() -> Account {
    Account::service_account(NAMESPACE, "pushroll")
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
    let Account { user, groups } = account();
    let expected = (user, groups.into_iter().collect());
    assert_eq!(who(genuine.trim()), expected);
    assert_eq!(who(&plane.token(SERVICE_ACCOUNT)), expected);
}

async fn assert_nothing_else_is_permitted(ground: &Ground) {
    for (verb, resource, name, namespace) in [
        ("get", "secrets", "", NAMESPACE),
        ("list", "configmaps", "", NAMESPACE),
        ("get", "configmaps", "another", NAMESPACE),
        ("patch", "configmaps", "another", NAMESPACE),
        ("delete", "configmaps", CACHE, NAMESPACE),
        ("delete", "configmaps", WAITING, NAMESPACE),
        ("get", "configmaps", CACHE, "default"),
        ("create", "configmaps", "", "default"),
        ("get", "pods", "", ""),
        ("watch", "pods", "", ""),
        ("patch", "pods", "", ""),
        ("delete", "pods", "", ""),
        ("create", "pods", "", NAMESPACE),
        ("create", "pods/exec", "", ""),
        ("create", "deployments.apps", "", ""),
        ("update", "deployments.apps", "", ""),
        ("delete", "deployments.apps", "", ""),
        ("patch", "deployments/scale.apps", "", ""),
        ("patch", "clusterroles.rbac.authorization.k8s.io", "", ""),
        ("create", "serviceaccounts/token", "", NAMESPACE),
    ] {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let [verb, resource, group, name, namespace] = [verb, resource, group, name, namespace].map(str::to_owned);
        let permission = Permission { verb, resource, group, name, namespace };
        assert!(!account().may(ground, &permission).await, "{permission:?}");
    }
}

impl Stage {
    /// What fails without it, and where that is said.
    async fn assert_missed(&self, permission: &Permission) {
        let missed = permission.missed_by(SERVICE_ACCOUNT);
        match (permission.verb.as_str(), permission.resource.as_str()) {
            ("list", "deployments" | "statefulsets" | "daemonsets") => {
                self.delete_cache().await;
                let service = self.start().await;
                let reason =
                    |status: &Value| status["unseen_parts"][0]["reason"].as_str().unwrap_or_default().to_owned();
                let status = service.wait_for_status("the kind is named", |status| !reason(status).is_empty()).await;
                assert!(reason(&status).contains(&missed), "{status}");
                service.wait_until_ready().await;
                let ready = get(&format!("{}/readyz?verbose", service.internal)).await.text();
                assert!(ready.contains(&missed), "{ready}");
                self.assert_push_fails(&service, &missed, |answer| answer["reason"].clone()).await;
            }
            ("watch", "deployments" | "statefulsets" | "daemonsets") => {
                let service = self.start_watching().await;
                let error = |status: &Value| status["tiers"]["watch"]["error"].as_str().unwrap_or_default().to_owned();
                let status = service.wait_for_status("it is said", |status| error(status).contains(&missed)).await;
                assert_eq!(status["tiers"]["watch"]["live"], false, "{status}");
                let answer = service.push(&new_push(&self.image)).await;
                assert_eq!(answer.json()["outcome"], "restarted", "by a scan: {}", answer.text());
            }
            (verb, "configmaps" | "leases") if permission.name == WAITING => {
                let service = self.start_looking().await;
                if verb == "get" {
                    service.warned(&missed).await;
                }
                let answer = service.push(&new_push(&self.frozen_image)).await;
                // What cannot be found again may not wait.
                if permission.resource == "configmaps" && ["get", "patch"].contains(&verb) {
                    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")));
                    assert!(answer.text().contains(&missed.replace('"', "\\\"")), "{missed}: {}", answer.text());
                } else {
                    assert_eq!(answer.json()["workloads"][0]["code"], "denied", "{}", answer.text());
                    service.warned(&missed).await;
                }
                self.event().await;
                drop(service);
                self.delete_events().await;
            }
            (verb @ ("get" | "patch" | "create"), "leases") => {
                if verb == "create" {
                    self.delete_lease().await;
                }
                let service = self.start_watching().await;
                // The first turn may make the Lease; the second changes it.
                self.assert_cache_follows().await;
                self.assert_cache_follows().await;
                service.warned(&missed).await;
            }
            ("get" | "patch", "deployments" | "statefulsets" | "daemonsets") => {
                let service = self.start_ready().await;
                let before = self.generations().await;
                let answer = service.push(&new_push(&self.image)).await;
                assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (503, &json!("failed")));
                let answer = answer.json();
                let workloads = answer["workloads"].as_array().unwrap();
                assert_eq!(workloads.len(), 3, "{answer}");
                for workload in workloads {
                    if format!("{}s", workload["kind"].as_str().unwrap().to_lowercase()) != permission.resource {
                        assert_eq!(workload["action"], "restarted", "the other kinds are done: {answer}");
                        continue;
                    }
                    let missed = format!("{missed} in the namespace \"{}\"", self.ground.namespace());
                    assert_eq!(workload["code"], "forbidden", "{answer}");
                    assert!(workload["reason"].as_str().unwrap().contains(&missed), "{answer}");
                    assert!(answer["detail"].as_str().unwrap().contains(&missed), "{answer}");
                }
                let rolled = before.iter().zip(self.generations().await).filter(|(before, after)| *before != after);
                assert_eq!(rolled.count(), 2, "{answer}");
            }
            ("list", "pods") => {
                let service = self.start_ready().await;
                let answer = self.push_twice(&service).await;
                let workloads = answer["workloads"].as_array().unwrap();
                assert_eq!(workloads.len(), 3, "{answer}");
                for workload in workloads {
                    assert_eq!(
                        (&workload["code"], &workload["warnings"]),
                        (&json!("runs_image"), &json!(["pods_not_seen"]))
                    );
                    assert!(workload["reason"].as_str().unwrap().contains(&missed), "{answer}");
                }
                let kubeconfig = self.ground.kubeconfig(SERVICE_ACCOUNT);
                let log_in = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--namespace", NAMESPACE];
                let checked = command::run(&[&log_in[..], &["check", "-o", "json"]].concat()).await;
                let found = checked.json()["findings"].clone();
                let found = found.as_array().unwrap().iter().find(|finding| finding["code"] == "pods_not_listable");
                let reason = found.map(|finding| finding["reason"].to_string()).unwrap_or_default();
                assert!(
                    checked.code == 0 && reason.contains("the permission to list pods in all namespaces is missing"),
                    "{checked:?}"
                );
            }
            (verb @ ("create" | "patch"), "events") => {
                let service = self.start_ready().await;
                for _ in 0..2 {
                    let answer = service.push(&new_push(&self.frozen_image)).await;
                    assert_eq!(answer.json()["workloads"][0]["code"], "denied", "{}", answer.text());
                    if verb == "patch" {
                        self.event().await;
                    }
                }
                let is_said = |line: &Value| {
                    let message = line["message"].as_str().unwrap_or_default();
                    message.contains("the Event was not written") && message.contains(&missed)
                };
                eventually("the log says it", async || service.log().iter().any(is_said).then_some(())).await;
                self.delete_events().await;
            }
            ("get", "configmaps") => {
                let service = self.start_ready().await;
                let error =
                    |status: &Value| status["tiers"]["configmap"]["error"].as_str().unwrap_or_default().to_owned();
                let status = service.wait_for_status("it is said", |status| !error(status).is_empty()).await;
                assert!(error(&status).contains(&missed), "{status}");
                assert_eq!(status["index"]["tier"], "scan", "a scan in its place");
            }
            (verb @ ("patch" | "create"), "configmaps") => {
                if verb == "create" {
                    self.delete_cache().await;
                }
                let service = self.start_ready().await;
                let (status, problem) = self.rebuild(&service).await;
                let detail = problem["detail"].as_str().unwrap();
                assert!(status == 503 && detail.contains(&missed), "{status} {problem}");
                let answer = service.push(&new_push(&self.image)).await;
                assert_eq!(answer.json()["outcome"], "restarted", "pushes go on: {}", answer.text());
                let cache = config_map(NAMESPACE, CACHE, "cache.json", "{}");
                if verb == "create" {
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
