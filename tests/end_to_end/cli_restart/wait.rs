//! `pushroll restart --wait`: each rollout to its end, or why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{name_of, was_restarted_by_hand};
use crate::support::command::run;
use crate::support::fixtures::{daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(restart_waits_until_every_pod_is_a_new_one);
    suite.on_control_plane(a_rollout_that_fails_or_hangs_is_said);
    suite.on_both(restart_does_not_wait_for_what_cannot_come);
    suite.on_embedded(restart_waits_no_longer_than_told);
    suite.on_both(restart_does_not_wait_for_an_answer_that_does_not_come);
}

fn ending(answer: &Value, name: &str) -> (String, String) {
    let rollouts = answer["rollouts"].as_array().unwrap();
    let found: Vec<_> = rollouts.iter().filter(|rollout| rollout["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name} in {answer}");
    let text = |key: &str| found[0][key].as_str().unwrap().to_owned();
    (text("ending"), text("reason"))
}

async fn restart_waits_until_every_pod_is_a_new_one(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let mut workloads = [
        deployment(namespace, "a-deployment", &image),
        stateful_set(namespace, "a-stateful-set", &image),
        daemon_set(namespace, "a-daemon-set", &image),
    ];
    let mut before = Vec::new();
    for workload in &mut workloads {
        if workload["kind"] != "DaemonSet" {
            workload["spec"]["replicas"] = json!(2);
        }
        ground.create(workload).await;
        ground.rolled_out(workload).await;
        before.push(ground.pods(workload).await);
    }
    let ran = ground.run_as(&ground.fresh_user(), &["restart", &image, "--wait", "--timeout", "60s"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for (workload, before) in workloads.iter().zip(before) {
        was_restarted_by_hand(&ground, workload).await;
        let pods = ground.pods(workload).await;
        assert!(pods.len() == before.len() && pods.is_disjoint(&before), "{workload}: {before:?} {pods:?}");
        // Which returns at once where kubectl, too, finds it complete.
        ground.rolled_out(workload).await;
        let name = name_of(workload, &workload["kind"].as_str().unwrap().to_lowercase());
        assert!(ran.stderr.contains(&format!("{name}: {0} of {0} pods are new", pods.len())), "{ran:?}");
    }
}

async fn a_rollout_that_fails_or_hangs_is_said(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let nowhere = |name: &str| {
        let mut workload = deployment(namespace, name, &image);
        workload["spec"]["template"]["spec"]["nodeSelector"] = json!({"nowhere": "yes"});
        workload
    };
    let (mut fails, hangs) = (nowhere("fails"), nowhere("hangs"));
    // What is less than a second away the controller puts into its rate-limited queue (Kubernetes:
    // `pkg/controller/deployment/progress.go`, `requeueStuckDeployment`), which other tests may fill for half a minute.
    fails["spec"]["progressDeadlineSeconds"] = json!(3);
    for workload in [&fails, &hangs] {
        ground.create(workload).await;
    }
    let arguments = ["restart", &image, "--wait", "--timeout", "20s", "-o", "json"];
    let ran = ground.run_as(&ground.fresh_user(), &arguments).await;
    let answer = ran.json();
    assert_eq!((ran.code, &answer["outcome"]), (1, &json!("restarted")), "{ran:?}");
    let (how, why) = ending(&answer, "fails");
    assert!(how == "failed" && why.contains("progress deadline"), "{answer}");
    let (how, why) = ending(&answer, "hangs");
    assert!(how == "unknown" && why.contains("within 20s") && why.contains("pods"), "{answer}");
    assert!(ran.stderr.contains(&format!("{}: {why}", name_of(&hangs, "deployment"))), "{ran:?}");
}

async fn restart_does_not_wait_for_what_cannot_come(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let mut paused = deployment(namespace, "paused", &image);
    paused["spec"]["paused"] = json!(true);
    let mut on_delete = stateful_set(namespace, "on-delete", &image);
    on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    for workload in [&paused, &on_delete] {
        ground.create(workload).await;
    }
    let (first, second) = (name_of(&paused, "deploy"), name_of(&on_delete, "sts"));
    // One that the clock can count to, and the longest that can be said.
    let mut ran = None;
    for timeout in ["99999999h", "2562047788015215h"] {
        let arguments = ["restart", "-w", &first, "-w", &second, "--wait", "--timeout", timeout, "-o", "json"];
        let waited = ground.run_as(&ground.fresh_user(), &arguments).await;
        assert_eq!(waited.code, 1, "it is not known to have rolled out: {waited:?}");
        ran = Some(waited);
    }
    let ran = ran.unwrap();
    let answer = ran.json();
    for (name, why) in [("paused", "rolls on resume"), ("on-delete", "only when somebody deletes it")] {
        let (how, reason) = ending(&answer, name);
        assert!(how == "unknown" && reason.contains(why), "{answer}");
    }
}

/// Where there are no controllers, nothing ever rolls.
async fn restart_waits_no_longer_than_told(ground: Ground) {
    let web = deployment(ground.namespace(), "web", &ground.image("web"));
    ground.create(&web).await;
    let name = name_of(&web, "deployment");
    let arguments = ["restart", "-w", &name, "--wait", "--timeout", "2s"];
    let ran = ground.run_as(&ground.fresh_user(), &arguments).await;
    assert!(ran.code == 1 && ran.stdout.contains("restarted"), "{ran:?}");
    let says = format!("{name}: it has not rolled out within 2s: its controller has not seen the change yet");
    assert!(ran.stderr.contains(&says), "{ran:?}");
    was_restarted_by_hand(&ground, &web).await;
}

/// An API server that takes the restart, and never answers how far it is.
async fn restart_does_not_wait_for_an_answer_that_does_not_come(ground: Ground) {
    let web = deployment(ground.namespace(), "web", &ground.image("web"));
    ground.create(&web).await;
    let is_restarted = Arc::new(AtomicBool::new(false));
    let rule = move |request: ApiRequest| {
        let was_restarted = is_restarted.fetch_or(request.is_patch(), Ordering::SeqCst);
        async move { if was_restarted { Passage::WithholdAnswer } else { Passage::Forward } }
    };
    let proxy = ApiProxy::start(&ground, rule).await;
    let (kubeconfig, name) = (proxy.kubeconfig().to_str().unwrap(), name_of(&web, "deployment"));
    let ran = run(&["--kubeconfig", kubeconfig, "restart", "-w", &name, "--wait", "--timeout", "500ms"]).await;
    assert!(ran.code == 1 && ran.stdout.contains("restarted"), "{ran:?}");
    let says = format!("{name}: it has not rolled out within 500ms: the API server has not answered");
    assert!(ran.stderr.contains(&says), "{ran:?}");
    was_restarted_by_hand(&ground, &web).await;
}
