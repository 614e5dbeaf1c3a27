//! `deploy/argo`: taken by the API server with Argo's own resources, and played from the push of an image to the
//! restart. No Argo runs here: the commands do, in the order and under the conditions that the manifests state.

mod bindings;
mod cache;
mod sensor;
mod workflow;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::manifests::{CACHE, Manifests, NAMESPACE, run};
use super::permission::Roles;
use crate::support::control_plane::ADMIN;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::kubernetes::JSON;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use sensor::{created, event};
use workflow::{Controller, Finished};

const WORKFLOWS: &str = "/apis/argoproj.io/v1alpha1/namespaces";

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(argo_knows_every_field_of_its_manifests);
    suite.on_control_plane(the_pods_of_argo_steps_are_admitted);
    suite.on_control_plane(argo_steps_lead_from_a_push_to_the_restart);
    suite.on_control_plane(argo_steps_tell_a_failure_from_an_answer);
    bindings::tests(suite);
    cache::tests(suite);
}

/// Argo's CustomResourceDefinitions, as the testbed got them from Argo's modules.
async fn install(ground: &Ground) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let install = async || {
        let mut files: Vec<_> =
            std::fs::read_dir(published(ground)).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        let mut create = ground.real().kubectl_as(ADMIN);
        // Not `apply`: merging their hundreds of thousands of fields takes the API server much longer.
        create.args(["create", "--validate=false"]);
        for file in &files {
            create.arg("--filename").arg(file);
        }
        run(&mut create);
        for file in &files {
            let plural = file.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap().1;
            let served = format!("{WORKFLOWS}/{}/{plural}", ground.namespace());
            let is_served = async || ground.request("GET", &served, None).await.ok();
            eventually("the API server serves Argo's resources", is_served).await;
        }
        assert_eq!(files.len(), 6, "{files:?}");
    };
    INSTALLED.get_or_init(install).await;
}

fn published(ground: &Ground) -> std::path::PathBuf {
    ground.real().kubectl().parent().unwrap().join("argo")
}

/// In the test's own namespace.
async fn applied(ground: &Ground) -> Manifests {
    install(ground).await;
    let manifests = Manifests::render(ground, "argo").moved(ground, &[(NAMESPACE, ground.namespace())]);
    manifests.apply(ground);
    manifests
}

async fn argo_knows_every_field_of_its_manifests(ground: Ground) {
    let manifests = applied(&ground).await;
    let strictly = async |object: &Value| {
        let plural = object["kind"].as_str().unwrap().to_lowercase() + "s";
        let path = format!("{WORKFLOWS}/{}/{plural}?dryRun=All&fieldValidation=Strict", ground.namespace());
        let mut object = object.clone();
        object["metadata"] = json!({"generateName": "strict-", "namespace": ground.namespace()});
        ground.ask("POST", &path, JSON, object.to_string()).await
    };
    let trigger = &manifests.get("Sensor", "pushroll")["spec"]["triggers"][0]["template"]["k8s"];
    let objects = [
        manifests.get("WorkflowTemplate", "pushroll"),
        manifests.get("CronWorkflow", "pushroll-refresh"),
        &trigger["source"]["resource"],
    ];
    for object in objects {
        let answer = strictly(object).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        // The proof that this is looked at: one field that Argo does not have.
        let mut wrong = object.clone();
        wrong["spec"]["entrypiont"] = json!("push");
        let answer = strictly(&wrong).await;
        assert!(answer.status == 400 && answer.text().contains("unknown field"), "{}", answer.text());
    }
    // Argo Events' resources have no schema in the cluster. The published one, closed to fields that it does not name:
    let mut schema: Value =
        serde_json::from_slice(&std::fs::read(published(&ground).join("events-schema.json")).unwrap()).unwrap();
    for definition in schema["definitions"].as_object_mut().unwrap().values_mut() {
        if definition["properties"].is_object() && definition["additionalProperties"].is_null() {
            definition["additionalProperties"] = json!(false);
        }
    }
    for kind in ["EventSource", "Sensor"] {
        let of_kind = json!({"$ref": format!("#/definitions/io.argoproj.events.v1alpha1.{kind}"),
            "definitions": schema["definitions"]});
        let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&of_kind).unwrap();
        let object = manifests.get(kind, "pushroll");
        let errors: Vec<_> =
            validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}");
        let mut wrong = object.clone();
        wrong["spec"]["template"]["serviceAcountName"] = json!("x");
        assert!(!validator.is_valid(&wrong), "{kind}");
    }
}

async fn the_pods_of_argo_steps_are_admitted(ground: Ground) {
    let manifests = applied(&ground).await;
    let spec = &manifests.get("WorkflowTemplate", "pushroll")["spec"];
    let mut tried = 0;
    for template in spec["templates"].as_array().unwrap().iter().filter(|template| template["container"].is_object()) {
        let mut container = template["container"].clone();
        container["name"] = json!("main");
        let pod = |container: &Value| {
            json!({"metadata": {"name": template["name"]}, "spec": {"containers": [container],
                "securityContext": spec["securityContext"], "volumes": spec["volumes"],
                "serviceAccountName": template["serviceAccountName"]}})
        };
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", ground.namespace());
        let answer = ground.ask("POST", &path, JSON, pod(&container).to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        container["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        assert_eq!(ground.ask("POST", &path, JSON, pod(&container).to_string()).await.status, 403);
        let version = format!(":{}", env!("CARGO_PKG_VERSION"));
        assert!(container["image"].as_str().unwrap().ends_with(&version), "{container}");
        tried += 1;
    }
    assert_eq!(tried, 5);
}

/// The manifests, the namespace of the workloads, and what runs the steps.
struct Stage {
    ground: Ground,
    manifests: Manifests,
    shop: String,
    controller: Controller,
}

impl Stage {
    async fn set(ground: Ground) -> Self {
        let manifests = applied(&ground).await;
        let shop = ground.another_namespace("shop").await;
        let controller = Controller::of(&ground, &manifests, &shop).await;
        Self { ground, manifests, shop, controller }
    }

    /// What the Sensor makes of an event.
    fn workflow(&self, body: &Value) -> Option<Value> {
        let (sensor, event_source) =
            (self.manifests.get("Sensor", "pushroll"), self.manifests.get("EventSource", "pushroll"));
        created(sensor, event_source, &event("1", "2026-11-20 09:16:40.38 +0000 UTC", body))
    }

    /// The cache says that it is as of then.
    async fn age_cache(&self, as_of: Timestamp) {
        let path = format!("/api/v1/namespaces/{}/configmaps/{CACHE}", self.ground.namespace());
        let mut document = self.ground.cache_document().await.unwrap();
        document["as_of"] = json!(as_of);
        let patch = json!({"data": {"cache.json": document.to_string()}});
        self.ground.request("PATCH", &path, Some(patch)).await.unwrap();
    }

    /// From the message of a push to the end of the Workflow, which the Sensor's account creates.
    async fn push(&self, image: &str) -> Finished {
        let workflow = self.workflow(&PushMessage::now(image, 1).payload()).unwrap();
        let namespace = self.ground.namespace();
        let _ = Roles::of(&self.ground, &self.manifests.objects, namespace, "pushroll-sensor-argo").await;
        let sensor = self.ground.log_in(namespace, "pushroll-sensor-argo").await;
        let file = self.ground.directory().join("workflow.json");
        std::fs::write(&file, workflow.to_string()).unwrap();
        let mut create = self.ground.real().kubectl_as(ADMIN);
        create.env("KUBECONFIG", &sensor.kubeconfig).args(["create", "--validate=false", "-o", "json", "--filename"]);
        let stored: Value = serde_json::from_str(&run(create.arg(&file)).stdout).unwrap();
        assert_eq!(stored["spec"]["arguments"]["parameters"][0], json!({"name": "image", "value": image}));
        self.controller.run(&stored["spec"]).await
    }
}

async fn argo_steps_lead_from_a_push_to_the_restart(ground: Ground) {
    let (image, other) = (ground.image("web"), ground.image("other"));
    let stage = Stage::set(ground.clone()).await;
    let (web, beside) = (deployment(&stage.shop, "web", &image), deployment(&stage.shop, "beside", &other));
    ground.create(&web).await;
    ground.create(&beside).await;

    // There is no cache yet: the check says no, and it is built.
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 3", "rebuild 0", "restart 0"], "{finished:?}");
    assert!(finished.succeeded);
    assert_eq!((ground.generation(&web).await, ground.generation(&beside).await), (2, 1));
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 0", "lookup 0", "restart 0"], "{finished:?}");
    assert_eq!((ground.generation(&web).await, ground.generation(&beside).await), (3, 1));

    // Nobody runs it, and that is an answer.
    let finished = stage.push(&ground.image("nobody")).await;
    assert!(finished.succeeded && finished.ran == ["check 0", "lookup 3"], "{finished:?}");

    // The cache is too old.
    stage.age_cache("2026-01-01T00:00:00Z".parse().unwrap()).await;
    let finished = stage.push(&other).await;
    assert_eq!(finished.ran, ["check 3", "rebuild 0", "restart 0"], "{finished:?}");
    assert_eq!((ground.generation(&web).await, ground.generation(&beside).await), (3, 2));

    // The cache names one that has gone.
    ground.delete(&beside).await;
    let finished = stage.push(&other).await;
    assert!(finished.succeeded, "{finished:?}");
    assert_eq!(finished.ran, ["check 0", "lookup 0", "restart 3", "rebuild 0"], "{finished:?}");
    let finished = stage.push(&other).await;
    assert_eq!(finished.ran, ["check 0", "lookup 3"], "{finished:?}");

    // What is no push of a tag makes no Workflow.
    let delete = json!({"action": "DELETE", "tag": image});
    let untagged = json!({"action": "INSERT", "digest": format!("{image}@sha256:0")});
    for body in [delete, untagged, json!({"action": "INSERT", "tag": ""}), json!("junk")] {
        assert_eq!(stage.workflow(&body), None, "{body}");
    }
}

async fn argo_steps_tell_a_failure_from_an_answer(ground: Ground) {
    let image = ground.image("web");
    let stage = Stage::set(ground.clone()).await;
    let web = deployment(&stage.shop, "web", &image);
    ground.create(&web).await;
    let of = async |name: &str| Roles::of(&ground, &stage.manifests.objects, ground.namespace(), name).await;
    let (reader, restarter) = (of("pushroll-reader-argo").await, of("pushroll-restarter-argo").await);
    let permission = |roles: &Roles, verb_and_resource: &str| {
        roles.permissions().into_iter().find(|one| one.verb_and_resource() == verb_and_resource).unwrap()
    };

    // It could not be checked: that is no reason to miss the push.
    let read = permission(&reader, "get configmaps");
    reader.take(&read).await;
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 1", "rebuild 0", "restart 0"], "{finished:?}");
    assert_eq!(ground.generation(&web).await, 2);
    reader.give_back(&read).await;

    // A restart that fails is tried once more, and is then the failure of the workflow.
    let patch = permission(&restarter, "patch deployments.apps");
    restarter.take(&patch).await;
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 0", "lookup 0", "restart 1", "restart 1"], "{finished:?}");
    assert!(!finished.succeeded);
    restarter.give_back(&patch).await;

    // What is no image is not taken for one that nobody runs, nor for a flag.
    for junk in ["not an image", "--help"] {
        let finished = stage.push(&format!("{junk}:")).await;
        assert_eq!(finished.ran, ["check 0", "lookup 2", "restart 2", "restart 2"], "{finished:?}");
        assert!(!finished.succeeded && finished.stderr.contains("image reference"), "{finished:?}");
    }
}
