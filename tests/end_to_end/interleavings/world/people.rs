//! Everybody else: who scales, edits, pauses, restarts, undoes, opts out, deletes and creates.

use std::time::{Duration, Instant};

use http::{Method, Request};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};

use super::super::model::{Broken, images};
use super::super::plan::Edit;
use super::replicas::Running;
use super::{LIMIT, World, image, name_of};
use crate::support::fixtures::collection;

impl World {
    pub(super) async fn edit(&mut self, number: usize, edit: &Edit) -> Result<(), Broken> {
        let name = name_of(&self.workloads[number]);
        let Some(object) = self.model.object(&name).cloned() else {
            if matches!(edit, Edit::Create) {
                self.create(number).await;
            }
            return self.tell_watches(&name).await;
        };
        let is_deployment = object["kind"] == "Deployment";
        // kubectl refuses both while it is paused.
        let is_paused = object["spec"]["paused"] == true;
        let template = |change: Value| json!({"spec": {"template": change}});
        let annotations = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
        match edit {
            Edit::Scale(replicas) if object["kind"] != "DaemonSet" => {
                self.patch(&name, "scaler", json!({"spec": {"replicas": replicas}})).await;
            }
            Edit::Annotate(value) => {
                self.patch(&name, "someone", annotations("someone", json!(value.to_string()))).await;
            }
            Edit::AnnotatePods(value) => {
                self.patch(&name, "someone", template(annotations("someone", json!(value.to_string())))).await;
            }
            Edit::Pause(paused) if is_deployment => {
                self.patch(&name, "kubectl-rollout", json!({"spec": {"paused": paused}})).await;
            }
            Edit::Image { container, tag } => {
                let mut containers = object["spec"]["template"]["spec"]["containers"].clone();
                let count = containers.as_array().map_or(1, Vec::len);
                containers[container % count]["image"] = json!(image(&self.place, *tag));
                self.patch(&name, "someone", template(json!({"spec": {"containers": containers}}))).await;
            }
            Edit::Restart if !is_paused => {
                let now = Timestamp::from_second(self.now().as_second()).unwrap().to_string();
                let restart = template(annotations("kubectl.kubernetes.io/restartedAt", json!(now)));
                self.patch(&name, "kubectl-rollout", restart).await;
            }
            Edit::Undo(ago) if !is_paused => {
                if let Some((template, annotations)) = self.model.revision(&name, *ago) {
                    self.undo(&name, &template, is_deployment.then_some(&annotations), None).await;
                }
            }
            Edit::UndoAtOnce(ago) if !is_paused => {
                if let Some((template, annotations)) = self.model.living_revision(&name, *ago) {
                    self.undo(&name, &template, is_deployment.then_some(&annotations), Some(*ago)).await;
                }
            }
            Edit::OptOut(opts_out) => {
                let value = if *opts_out { json!("false") } else { Value::Null };
                self.patch(&name, "owner", annotations("pushroll.dev/restart", value)).await;
            }
            Edit::Delete => self.delete(number).await,
            Edit::Scale(_) | Edit::Pause(_) | Edit::Restart | Edit::Undo(_) | Edit::UndoAtOnce(_) | Edit::Create => {}
        }
        self.tell_watches(&name).await
    }

    /// A workload that runs a tag since a moment ago may be missed by a replica whose watch has not told it yet, which
    /// is known (ARCHITECTURE.md, "The watch"): in the model pods pull at once.
    async fn tell_watches(&mut self, name: &str) -> Result<(), Broken> {
        self.settle().await?;
        let Some(object) = self.model.object(name).filter(|_| self.place.watches) else { return Ok(()) };
        let (images, began) = (images(object), Instant::now());
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let knows = |running: &Running| {
            running.replica.lacks(&kind) || images.iter().all(|image| running.replica.knows(image, name))
        };
        if !self.replicas.iter().all(knows) {
            self.replicas.iter().for_each(|running| running.stall.set(false));
        }
        while !self.replicas.iter().all(knows) {
            assert!(began.elapsed() < LIMIT, "a watch does not tell");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.settle().await
    }

    pub(super) async fn create(&mut self, number: usize) {
        let manifest = self.workloads[number].clone();
        let path = format!("{}?fieldManager=creator", collection(&manifest));
        let object = self.ask(Method::POST, &path, Some(&manifest)).await;
        self.model.time = self.now();
        self.model.created(&name_of(&manifest), object);
    }

    pub(super) async fn delete(&mut self, number: usize) {
        let manifest = self.workloads[number].clone();
        self.ask(Method::DELETE, &path_of(&manifest), None).await;
        self.model.deleted(&name_of(&manifest));
    }

    pub(super) async fn patch(&mut self, name: &str, manager: &str, patch: Value) {
        let manifest = self.workloads.iter().find(|manifest| name_of(manifest) == name).unwrap();
        let path = format!("{}?fieldManager={manager}", path_of(manifest));
        let object = self.ask(Method::PATCH, &path, Some(&patch)).await;
        self.model.time = self.now();
        self.model.edited(name, object);
    }

    /// The old pod template whole and, of a Deployment, the annotations of its ReplicaSet; no labels. `alive`: the pods of
    /// the revision so long ago are still there.
    async fn undo(&mut self, name: &str, template: &Value, annotations: Option<&Value>, alive: Option<usize>) {
        let object = self.replace_template(name, "kubectl", template, annotations).await;
        self.model.time = self.now();
        match alive {
            Some(ago) => self.model.undone(name, object, ago),
            None => self.model.edited(name, object),
        }
    }

    /// Returns the object as it was stored. The model does not learn of it.
    pub(super) async fn replace_template(
        &self,
        name: &str,
        manager: &str,
        template: &Value,
        annotations: Option<&Value>,
    ) -> Value {
        let manifest = self.workloads.iter().find(|manifest| name_of(manifest) == name).unwrap();
        let path = path_of(manifest);
        loop {
            let mut object = self.ask(Method::GET, &path, None).await;
            object["spec"]["template"] = template.clone();
            if let Some(annotations) = annotations {
                object["metadata"]["annotations"] = annotations.clone();
            }
            match self.try_ask(Method::PUT, &format!("{path}?fieldManager={manager}"), Some(&object)).await {
                Ok(object) => return object,
                // A controller has written its status meanwhile.
                Err(409) => {}
                Err(code) => panic!("a template cannot be replaced: {code}"),
            }
        }
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let what = format!("{method} {path}");
        self.try_ask(method, path, body).await.unwrap_or_else(|code| panic!("{what} is refused: {code}"))
    }

    async fn try_ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, u16> {
        let media_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = Request::builder().method(method).uri(path).header("content-type", media_type);
        let response = self.place.api.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        if !head.status.is_success() {
            return Err(head.status.as_u16());
        }
        Ok(serde_json::from_slice(&body).unwrap())
    }
}

fn path_of(manifest: &Value) -> String {
    format!("{}/{}", collection(manifest), name_of(manifest))
}
