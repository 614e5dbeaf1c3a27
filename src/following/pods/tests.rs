use serde_json::{Value, json};

use super::*;

const AT: &str = "2026-11-27T20:10:00Z";

fn digest(letter: char) -> String {
    format!("sha256:{}", String::from(letter).repeat(64))
}

fn pod(change: impl FnOnce(&mut Value)) -> PodObject {
    let mut pod = json!({
        "metadata": {"name": "web-1", "annotations": {RESTARTED_AT_ANNOTATION: AT},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f", "uid": "r", "controller": true}]},
        "spec": {"containers": [{"name": "web", "image": "registry.example/web:1", "imagePullPolicy": "IfNotPresent"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "imageID": format!("registry.example/web@{}", digest('a')), "ready": true}]},
    });
    change(&mut pod);
    serde_json::from_value(pod).unwrap()
}

fn has(kind: WorkloadKind, pod: &PodObject) -> bool {
    let workload = WorkloadRef::new("shop", kind, "web");
    RestartOf { workload: &workload, uid: "u", restarted_at: AT }.has(pod)
}

fn failing(change: impl FnOnce(&mut Value)) -> Option<String> {
    let mut seen = SeenPods::default();
    seen.add(&pod(change));
    seen.failing
}

fn runs(pods: &[PodObject]) -> (Runs, String) {
    let pushed = Pushed { image: "registry.example/web:1".parse().unwrap(), digest: digest('a').parse().ok() };
    let mut seen = SeenImage::new(pushed);
    pods.iter().for_each(|pod| seen.add(pod));
    seen.runs(false)
}

#[test]
fn only_pods_of_this_restart_count() {
    let deployment = |change: fn(&mut Value)| has(WorkloadKind::Deployment, &pod(change));
    assert!(deployment(|_| {}));
    assert!(!deployment(
        |pod| pod["metadata"]["annotations"] = json!({RESTARTED_AT_ANNOTATION: "2026-11-27T20:09:59Z"})
    ));
    assert!(!deployment(|pod| pod["metadata"]["annotations"] = json!({})));
    assert!(!deployment(|pod| pod["metadata"]["deletionTimestamp"] = json!(AT)));
    assert!(!deployment(|pod| pod["status"]["phase"] = json!("Failed")));
    assert!(!deployment(|pod| pod["metadata"]["ownerReferences"] = json!([])));
    // Of another Deployment with the same labels, restarted in the same second.
    assert!(!deployment(|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("web-canary-5d4f")));
    assert!(!deployment(|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("api-5d4f")));
    let owned_by = |uid: &str| {
        pod(|pod| {
            pod["metadata"]["ownerReferences"] =
                json!([{"kind": "StatefulSet", "name": "web", "uid": uid, "controller": true}])
        })
    };
    assert!(has(WorkloadKind::StatefulSet, &owned_by("u")) && !has(WorkloadKind::StatefulSet, &owned_by("v")));
}

#[test]
fn a_pod_that_cannot_start_is_named_with_its_container_and_reason() {
    let waiting = |reason: &str, message: &str| {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        failing(|pod| pod["status"]["containerStatuses"][0]["state"] = state)
    };
    for reason in CANNOT_START {
        let expected = format!("{reason} in pod web-1, container web: because");
        assert_eq!(waiting(reason, "because"), Some(expected));
    }
    assert_eq!(waiting("ContainerCreating", ""), None);
    assert_eq!(waiting("PodInitializing", ""), None);
    let crashed = failing(|pod| {
        pod["status"]["containerStatuses"][0] = json!({"name": "web", "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}});
    });
    let expected = "CrashLoopBackOff in pod web-1, container web: exit code 1 (Error), 4 restarts";
    assert_eq!(crashed.unwrap(), expected);
    let between_crashes = failing(|pod| {
        pod["status"]["containerStatuses"][0] = json!({"name": "web", "restartCount": 3, "ready": false,
            "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
    });
    assert!(between_crashes.unwrap().contains("crashes again and again in pod web-1"));
    let init = failing(|pod| {
        pod["spec"]["initContainers"] = json!([{"name": "init", "image": "init:1"}]);
        pod["status"]["initContainerStatuses"] =
            json!([{"name": "init", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]);
    });
    assert_eq!(init.unwrap(), "ErrImagePull in pod web-1, container init: no");
    assert_eq!(failing(|pod| pod["status"] = json!({})), None);
}

#[test]
fn a_pod_on_a_node_that_does_not_report_is_named() {
    let mut seen = SeenPods::default();
    seen.add(&pod(|pod| {
        pod["spec"]["nodeName"] = json!("node-7");
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    }));
    assert_eq!((seen.failing, seen.unready.unwrap()), (None, "pod web-1 on node node-7 is not ready".to_owned()));
}

#[test]
fn an_equal_digest_is_proof_and_an_unequal_one_is_none() {
    let other_digest = |pod: &mut Value| {
        pod["status"]["containerStatuses"][0]["imageID"] = json!(format!("mirror.example/a@{}", digest('b')));
    };
    assert_eq!(runs(&[pod(|_| {}), pod(|_| {})]), (Runs::PushedImage, format!("2 of 2 pods run {}", digest('a'))));
    let (found, sentence) = runs(&[pod(|_| {}), pod(other_digest)]);
    assert_eq!(found, Runs::CannotTell);
    assert!(
        sentence.starts_with("1 of 2 pods run") && sentence.ends_with("with imagePullPolicy IfNotPresent"),
        "{sentence}"
    );
    for no_digest in [json!({}), json!({"containerStatuses": [{"name": "renamed", "imageID": "x"}]})] {
        assert_eq!(runs(&[pod(|pod| pod["status"] = no_digest)]).0, Runs::CannotTell);
    }
    assert_eq!(runs(&[]).0, Runs::NotChecked);
}

#[test]
fn another_reference_is_another_image_unless_its_digest_is_the_pushed_one() {
    let image = |image: &str, letter: char| {
        pod(|pod| {
            pod["spec"]["containers"][0]["image"] = json!(image);
            pod["status"]["containerStatuses"][0]["imageID"] = json!(format!("x@{}", digest(letter)));
        })
    };
    let pinned = format!("registry.example/web@{}", digest('a'));
    assert_eq!(runs(&[image(&pinned, 'a')]).0, Runs::PushedImage);
    assert_eq!(runs(&[image(&pinned, 'b')]).0, Runs::PushedImage, "a node may know it by another digest");
    assert_eq!(runs(&[image("mirror.example/web:1", 'a')]).0, Runs::PushedImage);
    let (found, sentence) = runs(&[pod(|_| {}), image("registry.example/web:0", 'b')]);
    assert_eq!(found, Runs::OtherImage);
    assert_eq!(sentence, "pod web-1 runs registry.example/web:0, not registry.example/web:1");
    // An init container of the image counts as well.
    let init = pod(|pod| {
        pod["spec"]["initContainers"] = json!([{"name": "init", "image": "registry.example/web:1"}]);
        pod["status"]["initContainerStatuses"] = json!([{"name": "init", "imageID": format!("x@{}", digest('b'))}]);
    });
    assert_eq!(runs(&[init]).0, Runs::CannotTell);
}

#[test]
fn without_a_digest_of_the_push_or_of_the_pod_nothing_is_said() {
    let mut seen = SeenImage::new(Pushed { image: "registry.example/web:1".parse().unwrap(), digest: None });
    seen.add(&pod(|_| {}));
    assert_eq!(seen.runs(false).0, Runs::CannotTell);
    let pushed = Pushed { image: "registry.example/web:1".parse().unwrap(), digest: digest('a').parse().ok() };
    let mut seen = SeenImage::new(pushed);
    seen.add(&pod(|_| {}));
    assert_eq!(seen.runs(true).0, Runs::CannotTell, "an image volume");
}
