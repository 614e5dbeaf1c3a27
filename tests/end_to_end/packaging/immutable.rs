//! The CronJob that writes immutable ConfigMaps and rolls a workload onto them, as the account it has for itself.

use serde_json::json;

use super::manifests::{CACHE, Manifests, NAMESPACE};
use super::permission::{Permission, Roles};
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(the_immutable_cron_job_may_what_it_needs);
}

const ACCOUNT: &str = "pushroll-refresher";

async fn the_immutable_cron_job_may_what_it_needs(ground: Ground) {
    let namespace = ground.namespace();
    let rendered = Manifests::render(&ground, "overlays/immutable").moved(&ground, &[(NAMESPACE, namespace)]);
    let manifests = rendered.only(|object| object["kind"] != "Deployment");
    manifests.apply(&ground);
    let mut reader = deployment(namespace, "cache-reader", &ground.image("reader"));
    let volumes = json!([{"name": "cache", "configMap": {"name": CACHE, "optional": true}}]);
    reader["spec"]["template"]["spec"]["volumes"] = volumes;
    ground.create(&reader).await;

    let roles = Roles::of(&ground, &manifests.objects, namespace, ACCOUNT).await;
    let account = ground.log_in(namespace, ACCOUNT).await;
    let mut container = manifests.container_of_job("pushroll-refresh").clone();
    let argument = container["args"].as_array_mut().unwrap().last_mut().unwrap();
    let set_volume = argument.as_str().unwrap().replace("=pushroll/", &format!("={namespace}/"));
    *argument = json!(set_volume);
    // Other tests change the cluster; the permission to scan is that for all of it.
    container["env"].as_array_mut().unwrap().push(json!({"name": "PUSHROLL_NAMESPACES", "value": namespace}));

    let mounted =
        async || ground.get(&reader).await["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"].clone();
    let change = async |number: usize| {
        let workload = deployment(namespace, &format!("web-{number}"), &ground.image("web"));
        ground.create(&workload).await;
        workload
    };
    // Enough of them that each change has something to delete.
    for number in 0..4 {
        change(number).await;
        let ran = manifests.run_container(&container, &account).await;
        let name = ran.stdout.strip_prefix("changed\n").unwrap_or_else(|| panic!("{ran:?}")).trim_end();
        assert_eq!(mounted().await, name);
    }
    // What it has as the refresher over the plain ConfigMap is not used here.
    let permissions: Vec<Permission> =
        roles.permissions().into_iter().filter(|permission| permission.name != CACHE).collect();
    let (looks, needed): (Vec<Permission>, Vec<Permission>) = permissions
        .into_iter()
        .partition(|one| one.verb == "list" && one.namespace == namespace && one.resource != "configmaps");
    assert!(needed.len() == 3 + 4 + 2 && looks.len() == 1 + 1 + 2, "{needed:?} {looks:?}");
    // Without them it does not know what is mounted.
    for (number, permission) in looks.iter().enumerate() {
        change(200 + number).await;
        roles.take(permission).await;
        let ran = manifests.run_container(&container, &account).await;
        assert!(ran.code == 0 && ran.stderr.contains(&permission.missed_by(&account.user)), "{permission:?}: {ran:?}");
        roles.give_back(permission).await;
    }
    for (number, permission) in needed.iter().enumerate() {
        let new = change(100 + number).await;
        let is_return = (permission.verb.as_str(), permission.resource.as_str()) == ("patch", "configmaps");
        if is_return {
            let ran = manifests.run_container(&container, &account).await;
            assert!(ran.stdout.starts_with("changed\n"), "{ran:?}");
            ground.delete(&new).await;
        }
        roles.take(permission).await;
        let ran = manifests.run_container(&container, &account).await;
        let missed = permission.missed_by(&account.user);
        if (permission.verb.as_str(), permission.group.as_str()) == ("list", "apps") {
            // The other kinds are written.
            assert!(ran.code == 1 && ran.stderr.contains(&missed) && !ran.stdout.is_empty(), "{permission:?}: {ran:?}");
        } else {
            let sentence = ran.failed_with_one_sentence();
            assert!(sentence.contains(&missed), "without {permission:?}: {sentence}");
        }
        roles.give_back(permission).await;
        let ran = manifests.run_container(&container, &account).await;
        assert_eq!(ran.code, 0, "{permission:?}: {ran:?}");
        assert_eq!(mounted().await, ran.stdout.lines().nth(1).unwrap(), "{permission:?}");
    }
    let other = |verb: &str, resource: &str, group: &str| {
        let [verb, resource, group] = [verb, resource, group].map(str::to_owned);
        Permission { verb, resource, group, name: "another".to_owned(), namespace: namespace.to_owned() }
    };
    for permission in
        [other("patch", "deployments", "apps"), other("get", "secrets", ""), other("get", "configmaps", "")]
    {
        assert!(!roles.account.may(&ground, &permission).await, "{permission:?}");
    }
}
