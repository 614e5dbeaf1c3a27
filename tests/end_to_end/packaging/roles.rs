//! Each role by itself: with it and nothing else a command does its work, and without any one of its permissions
//! exactly what needs that one fails, with a sentence that names it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::{BASE, CACHE, Manifests, NAMESPACE};
use super::permission::{Permission, Roles};
use super::stage::used;
use crate::support::command::Ran;
use crate::support::fixtures::{collection, config_map, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::service_account::LoggedIn;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(the_reader_may_what_it_needs);
    suite.on_control_plane(the_refresher_may_what_it_needs);
    suite.on_control_plane(the_restarter_may_what_it_needs);
}

/// Something that a command is asked for, and the permissions without which it fails.
type Thing = (&'static str, &'static [&'static str]);

const LISTS: [&str; 3] = ["list daemonsets.apps", "list deployments.apps", "list statefulsets.apps"];

/// What `explain` tries besides and does without: no role has it.
const OPTIONAL: [&str; 3] = ["list cronjobs.batch", "list jobs.batch", "list replicasets.apps"];

const READER: [Thing; 7] = [
    ("check", &["get configmaps"]),
    ("check --deep", &["get configmaps", LISTS[0], LISTS[1], LISTS[2]]),
    ("lookup in the ConfigMap", &["get configmaps"]),
    ("lookup by a scan", &LISTS),
    ("explain of a Deployment", &[LISTS[0], LISTS[1], LISTS[2], "get deployments.apps"]),
    ("explain of a StatefulSet", &[LISTS[0], LISTS[1], LISTS[2], "get statefulsets.apps"]),
    ("explain of a DaemonSet", &[LISTS[0], LISTS[1], LISTS[2], "get daemonsets.apps"]),
];

const REFRESHER: [Thing; 3] = [
    ("rebuild of a missing ConfigMap", &[LISTS[0], LISTS[1], LISTS[2], "get configmaps", "create configmaps"]),
    ("rebuild of an old ConfigMap", &[LISTS[0], LISTS[1], LISTS[2], "get configmaps", "patch configmaps"]),
    ("rebuild --dry-run", &[LISTS[0], LISTS[1], LISTS[2], "get configmaps"]),
];

const RESTARTER: [Thing; 3] = [
    ("restart of a Deployment", &["get deployments.apps", "patch deployments.apps"]),
    ("restart of a StatefulSet", &["get statefulsets.apps", "patch statefulsets.apps"]),
    ("restart of a DaemonSet", &["get daemonsets.apps", "patch daemonsets.apps"]),
];

async fn the_reader_may_what_it_needs(ground: Ground) {
    each_permission_is_needed_and_enough(ground, "pushroll-reader", &READER).await;
}

async fn the_refresher_may_what_it_needs(ground: Ground) {
    each_permission_is_needed_and_enough(ground, "pushroll-refresher", &REFRESHER).await;
}

async fn the_restarter_may_what_it_needs(ground: Ground) {
    each_permission_is_needed_and_enough(ground, "pushroll-restarter", &RESTARTER).await;
}

async fn each_permission_is_needed_and_enough(ground: Ground, role: &str, things: &[Thing]) {
    let alone = Alone::with(ground, role).await;
    let permissions = alone.roles.permissions();
    for (thing, _) in things {
        alone.ask_for(thing).await.unwrap_or_else(|ran| panic!("{thing}: {ran:?}"));
    }
    let permitted: BTreeSet<_> = permissions.iter().map(Permission::verb_and_resource).collect();
    let asked = used(&alone.roles.ground, &alone.account.user);
    let asked = asked.into_iter().filter(|permission| !OPTIONAL.contains(&permission.as_str())).collect();
    assert_eq!(permitted, asked, "what is permitted, and what was asked for");
    for permission in &permissions {
        alone.roles.take(permission).await;
        let mut missed = 0;
        for (thing, needs) in things {
            match alone.ask_for(thing).await {
                Ok(()) => {
                    assert!(!needs.contains(&permission.verb_and_resource().as_str()), "{thing} without {permission:?}")
                }
                Err(ran) => {
                    assert!(
                        needs.contains(&permission.verb_and_resource().as_str()),
                        "{thing} without {permission:?}: {ran:?}"
                    );
                    let sentence = permission.missed_by(&alone.account.user);
                    let said = ran.stderr.clone() + &ran.stdout.replace("\\\"", "\"");
                    let places = [" in the namespace \"", " at the cluster scope"];
                    let is_said = places.iter().any(|place| said.contains(&format!("{sentence}{place}")));
                    assert!(
                        is_said && ran.stderr.matches(&sentence).count() <= 1,
                        "{thing} without {permission:?}: {ran:?}"
                    );
                    missed += 1;
                }
            }
        }
        assert!(missed > 0, "nothing fails without {permission:?}");
        alone.roles.give_back(permission).await;
    }
}

/// An account that has one role, and a workload of each kind with an image of its own.
struct Alone {
    roles: Roles,
    account: LoggedIn,
}

impl Alone {
    async fn with(ground: Ground, role: &str) -> Self {
        let namespace = ground.namespace().to_owned();
        let base = Manifests::render(&ground, BASE).moved(&ground, &[(NAMESPACE, &namespace)]);
        // Cluster-wide ones have the test's namespace behind their name.
        let names = [role.to_owned(), format!("{role}-{namespace}")];
        let is_it = |object: &Value| names.iter().any(|name| object["metadata"]["name"] == *name);
        let granted = base.only(|object| is_it(object) || object["kind"] == "ServiceAccount");
        granted.apply(&ground);
        for workload in workloads(&ground) {
            ground.create(&workload).await;
        }
        let account = ground.log_in(&namespace, "pushroll").await;
        let roles = Roles::of(&ground, &granted.objects, &namespace, "pushroll").await;
        Self { roles, account }
    }

    /// `Err`: it failed, or was done without what was asked for.
    async fn ask_for(&self, thing: &str) -> Result<(), Ran> {
        let ground = &self.roles.ground;
        let workload = workloads(ground).into_iter().find(|one| thing.ends_with(one["kind"].as_str().unwrap()));
        let image = image_of(workload.as_ref().unwrap_or(&workloads(ground)[0]));
        let cache = config_map(ground.namespace(), CACHE, "cache.json", &document(&image, ground.namespace()));
        let narrow = json!({"images": {}, "scope": {"namespaces": ["default"]}}).to_string();
        let narrow = config_map(ground.namespace(), CACHE, "cache.json", &narrow);
        let kind = workload.as_ref().map_or("", |one| one["kind"].as_str().unwrap()).to_lowercase();
        let name = format!("{}/{kind}/web", ground.namespace());
        let stale = config_map(ground.namespace(), CACHE, "cache.json", r#"{"images": {}}"#);
        let (arguments, stored, expected): (&[&str], Option<&Value>, &str) = match thing {
            "lookup in the ConfigMap" => {
                (&["lookup", &image, "-o", "json"], Some(&cache), "\"source\": {\n    \"tier\": \"configmap\"")
            }
            "lookup by a scan" => (&["lookup", &image, "-o", "json"], None, "\"source\": {\n    \"tier\": \"scan\""),
            "explain of a Deployment" | "explain of a StatefulSet" | "explain of a DaemonSet" => {
                (&["explain", &image, "-o", "json"], None, r#""action": "restarted""#)
            }
            "restart of a Deployment" | "restart of a StatefulSet" | "restart of a DaemonSet" => {
                (&["restart", "-w", &name, "-o", "json"], None, r#""action": "restarted""#)
            }
            "check" => (&["check", "-o", "json"], Some(&cache), r#""code": "valid""#),
            "check --deep" => {
                (&["check", "--deep", "--namespaces", "default", "-o", "json"], Some(&narrow), r#""code": "same""#)
            }
            "rebuild of a missing ConfigMap" => (&["rebuild"], None, "changed\n"),
            "rebuild of an old ConfigMap" => (&["rebuild"], Some(&stale), "changed\n"),
            "rebuild --dry-run" => (&["rebuild", "--dry-run"], Some(&stale), "changed\n"),
            unknown => panic!("say here how to ask for {unknown}"),
        };
        let path = format!("{}/{CACHE}", collection(&cache));
        let _ = ground.request("DELETE", &path, None).await;
        if let Some(stored) = stored {
            ground.create(stored).await;
        }
        let ran = self.account.run(arguments).await;
        // What can be seen is answered, and what cannot is named.
        let is_whole = !ran.stderr.contains("cannot be seen") && !ran.stdout.contains("part_unseen");
        if ran.code == 0 && ran.stdout.contains(expected) && is_whole { Ok(()) } else { Err(ran) }
    }
}

fn workloads(ground: &Ground) -> [Value; 3] {
    let namespace = ground.namespace();
    [
        deployment(namespace, "web", &ground.image("deployment")),
        stateful_set(namespace, "web", &ground.image("statefulset")),
        daemon_set(namespace, "web", &ground.image("daemonset")),
    ]
}

fn image_of(workload: &Value) -> String {
    workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

fn document(image: &str, namespace: &str) -> String {
    json!({"images": {image: [{"name": "web", "namespace": namespace}]}}).to_string()
}
