//! When `metadata.generation` rises, and what the server fills in.

use serde_json::{Value, json};

use super::{every_kind, merge_patch, template_annotation};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(the_generation_rises_with_the_spec_alone);
    suite.on_both(a_new_object_has_its_identity);
    suite.on_both(defaults_are_filled_in);
    suite.on_both(the_pull_policy_is_decided_once_by_the_tag);
}

async fn the_generation_rises_with_the_spec_alone(ground: Ground) {
    let own_annotation = json!({"metadata": {"annotations": {"example.com/note": "a"}}});
    let label = json!({"metadata": {"labels": {"example.com/label": "a"}}});
    let steps = |kind: &str| {
        let mut steps = vec![
            (template_annotation("kubectl.kubernetes.io/restartedAt", "2026-11-20T09:16:40Z"), 1),
            (template_annotation("kubectl.kubernetes.io/restartedAt", "2026-11-20T09:16:41Z"), 1),
            (template_annotation("kubectl.kubernetes.io/restartedAt", "2026-11-20T09:16:41Z"), 0),
            (label.clone(), 0),
            // A Deployment hands its own annotations on to its ReplicaSets.
            (own_annotation.clone(), i64::from(kind == "Deployment")),
            (own_annotation.clone(), 0),
            (json!({"status": {"observedGeneration": 77}}), 0),
            (json!({"spec": {"minReadySeconds": 1}}), 1),
            (json!({"metadata": {"annotations": {"example.com/note": "b"}}, "spec": {"minReadySeconds": 2}}), 1),
        ];
        if kind != "DaemonSet" {
            steps.push((json!({"spec": {"replicas": 0}}), 1));
        }
        if kind == "Deployment" {
            steps.push((json!({"spec": {"paused": true}}), 1));
        }
        steps
    };
    for manifest in every_kind(&ground) {
        let kind = manifest["kind"].as_str().unwrap();
        let created = ground.create(&manifest).await;
        let mut generation = 1;
        assert_eq!(created["metadata"]["generation"], generation, "{kind}");
        for (patch, rise) in steps(kind) {
            generation += rise;
            let written = merge_patch(&ground, &manifest, patch.clone()).await.json();
            assert_eq!(written["metadata"]["generation"], generation, "{kind}: {patch}");
        }
        assert_eq!(ground.generation(&manifest).await, generation, "{kind}");
    }
}

async fn a_new_object_has_its_identity(ground: Ground) {
    for mut manifest in every_kind(&ground) {
        // What a client has no say in.
        manifest["metadata"]["uid"] = json!("11111111-1111-4111-8111-111111111111");
        manifest["metadata"]["generation"] = json!(77);
        manifest["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
        manifest["status"] = json!({"observedGeneration": 77});
        let created = ground.create(&manifest).await;
        let metadata = &created["metadata"];
        assert_eq!(metadata["namespace"], ground.namespace());
        assert_eq!(metadata["generation"], 1);
        assert_ne!(metadata["uid"], manifest["metadata"]["uid"]);
        assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
        assert!(metadata["creationTimestamp"].as_str().unwrap() > "2026", "{metadata}");
        assert!(metadata["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0, "{metadata}");
        assert_eq!(created["status"].get("observedGeneration"), None);
        assert_eq!([&created["kind"], &created["apiVersion"]], [&manifest["kind"], &manifest["apiVersion"]]);
        assert_eq!(ground.get(&manifest).await["metadata"]["uid"], metadata["uid"]);
    }
}

/// The whole spec as it comes back: a field that is missing or too much would be read by somebody.
async fn defaults_are_filled_in(ground: Ground) {
    let image = ground.image("web");
    let template = |name: &str| {
        json!({
            "metadata": {"labels": {"app": name}},
            "spec": {
                "containers": [{
                    "name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                }],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "securityContext": {}, "schedulerName": "default-scheduler",
            },
        })
    };
    let expected = |kind: &str, name: &str| {
        let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template(name),
            "revisionHistoryLimit": 10});
        let rolling_update = match kind {
            "Deployment" => json!({"maxUnavailable": "25%", "maxSurge": "25%"}),
            "StatefulSet" => json!({"partition": 0}),
            _ => json!({"maxUnavailable": 1, "maxSurge": 0}),
        };
        let strategy = if kind == "Deployment" { "strategy" } else { "updateStrategy" };
        spec[strategy] = json!({"type": "RollingUpdate", "rollingUpdate": rolling_update});
        if kind != "DaemonSet" {
            spec["replicas"] = json!(1);
        }
        if kind == "Deployment" {
            spec["progressDeadlineSeconds"] = json!(600);
        }
        if kind == "StatefulSet" {
            spec["serviceName"] = json!(name);
            spec["podManagementPolicy"] = json!("OrderedReady");
            spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        }
        spec
    };
    for mut manifest in every_kind(&ground) {
        if let Some(spec) = manifest["spec"].as_object_mut() {
            spec.remove("replicas");
        }
        let container = &mut manifest["spec"]["template"]["spec"]["containers"][0];
        *container = json!({"name": "main", "image": image, "ports": [{"containerPort": 80}]});
        let (kind, name) = (manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"].as_str().unwrap());
        let created = ground.create(&manifest).await;
        assert_eq!(created["spec"], expected(kind, name), "{kind}");
    }
}

async fn the_pull_policy_is_decided_once_by_the_tag(ground: Ground) {
    let cases = [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.29", "IfNotPresent"),
        ("localhost:5000/web", "Always"),
        ("localhost:5000/web:v1", "IfNotPresent"),
        (&*format!("nginx@sha256:{}", "a".repeat(64)), "IfNotPresent"),
        (&*format!("nginx:latest@sha256:{}", "a".repeat(64)), "Always"),
    ];
    let [mut manifest, ..] = every_kind(&ground);
    // No pods: the images are nowhere.
    manifest["spec"]["replicas"] = json!(0);
    let container = |name: String, image: &str| json!({"name": name, "image": image});
    let containers = cases.iter().enumerate().map(|(number, (image, _))| container(format!("c{number}"), image));
    manifest["spec"]["template"]["spec"]["containers"] = containers.clone().collect();
    manifest["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "init", "image": "init"}]);
    let created = ground.create(&manifest).await;
    let pod = &created["spec"]["template"]["spec"];
    assert_eq!(pod["initContainers"][0]["imagePullPolicy"], "Always");
    for (container, (image, policy)) in pod["containers"].as_array().unwrap().iter().zip(cases) {
        assert_eq!(container["imagePullPolicy"], policy, "{image}");
    }
    let image = |value: &str| -> Value {
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": value}])
    };
    let path = super::path_of(&manifest);
    let media_type = crate::support::kubernetes::JSON_PATCH;
    let changed = ground.ask("PATCH", &path, media_type, image("nginx:1.30").to_string()).await.json();
    assert_eq!(changed["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "Always", "decided before");
}
