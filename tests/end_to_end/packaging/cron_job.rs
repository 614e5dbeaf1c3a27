//! The CronJob that refreshes the cache, as the account it has for itself.

use serde_json::{Value, json};

use super::manifests::{CACHE, Manifests, NAMESPACE};
use super::permission::{Permission, Roles};
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const JOB: &str = "pushroll-refresh";
const ACCOUNT: &str = "pushroll-refresher";

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(the_cron_job_refreshes_as_its_own_account);
    suite.on_control_plane(the_pods_of_the_cron_job_are_admitted);
}

/// Without the Deployment: it is not what is tried here.
fn applied(ground: &Ground) -> Manifests {
    let rendered = Manifests::render(ground, "overlays/cronjob").moved(ground, &[(NAMESPACE, ground.namespace())]);
    assert_eq!(rendered.container_of_job(JOB)["image"], rendered.container()["image"], "one image for both");
    let manifests = rendered.only(|object| object["kind"] != "Deployment");
    manifests.apply(ground);
    manifests
}

async fn the_cron_job_refreshes_as_its_own_account(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let elsewhere = ground.another_namespace("shop").await;
    ground.create(&deployment(&elsewhere, "web", &image)).await;
    let manifests = applied(&ground);
    let roles = Roles::of(&ground, &manifests.objects, namespace, ACCOUNT).await;
    let account = ground.log_in(namespace, ACCOUNT).await;
    let container = manifests.container_of_job(JOB);

    let ran = manifests.run_container(container, &account).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    let document = ground.cache_document().await.unwrap();
    assert_eq!(document["images"][&image], json!([{"name": "web", "namespace": elsewhere}]), "{document}");
    assert_eq!(document["scope"], json!({}), "the whole cluster");

    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{CACHE}");
    for permission in roles.permissions() {
        match permission.verb.as_str() {
            "create" => drop(ground.request("DELETE", &path, None).await),
            // Something to write: another document than the scan's.
            _ => {
                let data = json!({"data": {"cache.json": r#"{"images": {}}"#}});
                ground.request("PATCH", &path, Some(data)).await.unwrap();
            }
        }
        roles.take(&permission).await;
        let ran = manifests.run_container(container, &account).await;
        let missed = permission.missed_by(&account.user);
        let is_list = permission.verb == "list";
        if is_list {
            // The other kinds are written.
            assert!(ran.code == 1 && ran.stderr.contains(&missed) && !ran.stdout.is_empty(), "{permission:?}: {ran:?}");
        } else {
            let sentence = ran.failed_with_one_sentence();
            assert!(sentence.contains(&missed), "without {permission:?}: {sentence}");
        }
        roles.give_back(&permission).await;
        let ran = manifests.run_container(container, &account).await;
        assert!(ran.code == 0 && (is_list || ran.stdout == "changed\n"), "{permission:?}: {ran:?}");
    }
    for (verb, resource, group) in
        [("get", "deployments", "apps"), ("patch", "deployments", "apps"), ("get", "secrets", "")]
    {
        let [verb, resource, group] = [verb, resource, group].map(str::to_owned);
        let permission = Permission { verb, resource, group, name: String::new(), namespace: namespace.to_owned() };
        assert!(!roles.account.may(&ground, &permission).await, "{permission:?}");
    }
}

/// By the controllers: a Job made of it has a pod that the namespace takes, and comes to its end.
async fn the_pods_of_the_cron_job_are_admitted(ground: Ground) {
    let manifests = applied(&ground);
    let job = manifests.get("CronJob", JOB);
    assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
    let deadline = job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_i64().unwrap();
    assert!(deadline <= 600, "over before the next one: {deadline} s");
    ground.kubectl(&["create", "job", "--from", &format!("cronjob/{JOB}"), "by-hand"]).await;
    let path = format!("/apis/batch/v1/namespaces/{}/jobs/by-hand", ground.namespace());
    let succeeded = async || {
        let job: Value = ground.request("GET", &path, None).await.unwrap();
        (job["status"]["succeeded"] == 1).then_some(())
    };
    eventually("the Job succeeds", succeeded).await;
}
