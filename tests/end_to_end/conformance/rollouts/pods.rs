//! What a pod reports in each state that the tests' kubelet plays.

use serde_json::{Value, json};

use crate::support::fixtures::digest;
use crate::support::ground::Ground;
use crate::support::kubelet::{Life, image_id};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_pod_says_why_it_does_not_run);
    suite.on_both(the_pull_policy_decides_what_a_pod_runs);
    suite.on_both(an_init_container_holds_the_others_up);
}

fn main_status(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

async fn a_pod_says_why_it_does_not_run(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.refuse_pulls(&image, "ImagePullBackOff", "Back-off pulling image");
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    let pod = kubelet.waits_for(&web, "ImagePullBackOff").await;
    assert_eq!(main_status(&pod)["state"]["waiting"]["message"], "Back-off pulling image");
    assert_eq!([&pod["status"]["phase"], &main_status(&pod)["imageID"]], ["Pending", ""]);

    kubelet.push(&image, 1);
    kubelet.rolled_out(&web).await;
    let text = |text: &str| text.to_owned();
    let config = "CreateContainerConfigError";
    kubelet.digest_lives(1, Life::CannotBeCreated { reason: text(config), message: text("no such Secret") });
    let pod = kubelet.waits_for(&web, config).await;
    assert_eq!([&pod["status"]["phase"], &main_status(&pod)["imageID"]], ["Pending", ""]);

    let start = "RunContainerError";
    kubelet.digest_lives(1, Life::CannotStart { reason: text(start), message: text("no such file") });
    let pod = kubelet.waits_for(&web, start).await;
    assert!(image_id(&pod).ends_with(&digest(1)), "{pod}");

    let name = pod["metadata"]["name"].as_str().unwrap();
    kubelet.pod_lives(name, Life::CrashLoop { restarts: 5 });
    let pod = kubelet.waits_for(&web, "CrashLoopBackOff").await;
    let status = main_status(&pod);
    assert_eq!([&status["restartCount"], &status["lastState"]["terminated"]["exitCode"]], [5, 1]);
    assert_eq!(pod["status"]["phase"], "Running");

    kubelet.pod_lives(name, Life::NotReady);
    let runs = |pods: &[Value]| main_status(&pods[0])["state"]["running"].is_object();
    let pods = kubelet.pods_when(&web, "it runs", runs).await;
    assert_eq!(main_status(&pods[0])["ready"], false);
    kubelet.pod_lives(name, Life::Runs);
    kubelet.rolled_out(&web).await;
}

async fn the_pull_policy_decides_what_a_pod_runs(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    let with_policy = |name: &str, policy: &str| {
        let mut workload = kubelet.deployment(name, &image, 1);
        workload["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
        workload
    };
    let [always, if_not_present, never] =
        ["Always", "IfNotPresent", "Never"].map(|policy| with_policy(&policy.to_lowercase(), policy));
    ground.create(&never).await;
    kubelet.waits_for(&never, "ErrImageNeverPull").await;
    ground.create(&if_not_present).await;
    kubelet.waits_for(&if_not_present, "ErrImagePull").await;
    kubelet.push(&image, 1);
    kubelet.rolled_out(&if_not_present).await;
    // The image is on the nodes now.
    kubelet.rolled_out(&never).await;
    ground.create(&always).await;
    kubelet.rolled_out(&always).await;
    kubelet.push(&image, 2);
    let of = async |workload: &Value| image_id(&kubelet.pods(workload).await[0]).to_owned();
    for (workload, expected) in [(&if_not_present, 1), (&always, 2), (&never, 2)] {
        // `Always` brings the new image to the nodes.
        super::restart(&ground, workload).await;
        kubelet.rolled_out(workload).await;
        let found = of(workload).await;
        assert!(found.ends_with(&digest(expected)), "{found}: {workload}");
    }
    kubelet.push(&image, 3);
    // Containers that are started again pull anew, without a rollout.
    let pods = kubelet.pods(&always).await;
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    kubelet.report_image_id(3, "other.example/web@sha256:0");
    kubelet.restart_containers(name);
    let has_pulled = |pods: &[Value]| image_id(&pods[0]) == "other.example/web@sha256:0";
    let pods = kubelet.pods_when(&always, "it has pulled anew", has_pulled).await;
    assert_eq!([&pods[0]["metadata"]["name"], &main_status(&pods[0])["restartCount"]], [&json!(name), &json!(1)]);
}

async fn an_init_container_holds_the_others_up(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let (image, init) = (ground.image("web"), ground.image("init"));
    kubelet.push(&image, 1);
    kubelet.push(&init, 2);
    kubelet.digest_lives(2, Life::CrashLoop { restarts: 1 });
    let mut web = kubelet.stateful_set("web", &image, 1);
    web["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "init", "image": init}]);
    ground.create(&web).await;
    let pod = kubelet.waits_for(&web, "CrashLoopBackOff").await;
    assert_eq!(main_status(&pod)["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(pod["status"]["phase"], "Pending");
    kubelet.digest_lives(2, Life::Runs);
    kubelet.rolled_out(&web).await;
    let pod = &kubelet.pods(&web).await[0];
    let status = &pod["status"]["initContainerStatuses"][0];
    assert_eq!([&status["ready"], &status["state"]["terminated"]["exitCode"]], [&json!(true), &json!(0)]);
}
