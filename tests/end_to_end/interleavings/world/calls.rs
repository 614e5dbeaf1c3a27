//! The calls that wait at the gate, and what becomes of them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::super::model::{Broken, Sent, has_controller, record};
use super::super::plan::{Fate, Meddling, Refusal};
use super::{LIMIT, World};
use crate::support::gate::{HeldCall, Reply, forbidden};

/// What admission sets on a workload that it annotates.
const ANNOTATION: &str = "admission.example/changed";

impl World {
    pub(super) async fn release(&mut self, place: usize, fate: Fate) -> Result<(), Broken> {
        let call = self.gate.take(place);
        let what = format!("{} {} of {}", call.method, name(&call), call.sender);
        let (sender, path, is_patch) = (call.sender, call.path().to_owned(), call.is_patch());
        if call.is_about_what_waits() && !is_patch {
            match fate {
                Fate::Arrive => drop(self.blind.remove(&sender)),
                Fate::Refuse | Fate::LoseAnswer | Fate::WithholdAnswer => drop(self.blind.insert(sender)),
            }
        }
        if matches!(fate, Fate::Refuse) {
            self.trace.push(format!("   {what}: never arrives"));
            let (response, reply) = call.refuse(503, "");
            reply.send(response);
            return self.settle().await;
        }
        let (response, reply, said) = match self.refusal(&call) {
            Some((code, message)) => {
                let (response, reply) = call.refuse(code, &message);
                (response, reply, Ok(format!("refused: {message}")))
            }
            None => self.arrive(call).await,
        };
        let status = response.status();
        let shown = said.as_deref().unwrap_or("and that breaks a rule");
        self.trace.push(format!("   {what}: {} {shown}", status.as_u16()));
        said?;
        match fate {
            Fate::Arrive | Fate::Refuse => reply.send(response),
            Fate::LoseAnswer => drop(reply),
            Fate::WithholdAnswer => self.withheld.push(reply),
        }
        self.settle().await?;
        if is_patch && matches!(status.as_u16(), 404 | 409) && matches!(fate, Fate::Arrive) {
            self.looks_again(sender, &path).await?;
        }
        Ok(())
    }

    /// It arrives at the API server. Gives its answer, whom to tell, and what that did.
    async fn arrive(&mut self, mut call: HeldCall) -> (Response<Bytes>, Reply, Result<String, Broken>) {
        if call.is_about_pods() {
            let name = workload_of_pods(&call);
            let pods = self.model.pods(&name);
            let said = format!("{} pods of {name}", pods.len());
            let (response, reply) = call.answer(&json!({"metadata": {}, "items": pods}));
            return (response, reply, Ok(said));
        }
        if !call.is_patch() {
            let is_about_what_waits = call.is_about_what_waits();
            let (mut response, reply) = call.arrive(&self.place.api).await;
            if response.status() == 200 && !is_about_what_waits {
                let shown = self.model.shown(serde_json::from_slice(response.body()).unwrap());
                *response.body_mut() = shown.to_string().into();
            }
            return (response, reply, Ok(String::new()));
        }
        self.model.time = self.now();
        let (name, is_about_what_waits) = (name(&call), call.is_about_what_waits());
        let meddling = self.meddling.get(&name).copied().filter(|_| !is_about_what_waits);
        let kept = self.known_kept.remove(&call.number).unwrap_or_default();
        let sent = Sent { record: record(&call.patch()), kept, meddling };
        let mark = json!(call.number.to_string());
        if let Some(meddling) = meddling {
            call.set_patch(&self.meddled(&name, call.patch(), meddling, &mark));
        }
        let (response, reply) = call.arrive(&self.place.api).await;
        if response.status() != 200 {
            return (response, reply, Ok(String::new()));
        }
        let after: Value = serde_json::from_slice(response.body()).unwrap();
        if is_about_what_waits {
            return (response, reply, self.model.waiting_written(&after["data"]));
        }
        if meddling == Some(Meddling::Annotate) {
            self.model.annotated(&name, ANNOTATION, mark);
        }
        let before = self.model.object(&name).map(|object| object["spec"]["template"].clone());
        let written = self.model.written(&name, after, &sent);
        let is_controlled = self.model.object(&name).is_some_and(has_controller);
        if meddling == Some(Meddling::PutBack) && is_controlled && written.is_ok() {
            let put_back = self.replace_template(&name, "operator", &before.unwrap_or_default(), None).await;
            self.model.put_back(&name, put_back);
        }
        (response, reply, written)
    }

    /// How the API server refuses this call, if it does.
    fn refusal(&self, call: &HeldCall) -> Option<(u16, String)> {
        if call.is_about_what_waits() {
            return None;
        }
        if call.is_about_pods() {
            return (!self.may_list_pods).then(|| (403, forbidden("list", "pods")));
        }
        let (name, kind) = (name(call), call.path().rsplit('/').nth(1).unwrap_or_default());
        if self.gate.is_forbidden(kind) {
            let verb = if call.method == Method::GET { "get" } else { "patch" };
            return Some((403, forbidden(verb, kind)));
        }
        self.model.object(&name)?;
        let refusal = self.refusals.get(&name).filter(|_| call.is_patch())?;
        Some(match refusal {
            Refusal::Webhook(code) => (*code, "admission webhook \"w.example\" denied the request: frozen".to_owned()),
            Refusal::Policy(code) => {
                let by = "ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied request: frozen";
                (*code, format!("{kind}.apps \"{name}\" is forbidden: {by}"))
            }
            Refusal::NotFound => (404, format!("{kind}.apps \"{name}\" not found")),
            Refusal::Conflict => (409, format!("Operation cannot be fulfilled on {kind}.apps \"{name}\"")),
            Refusal::Invalid => (422, format!("{kind}.apps \"{name}\" is invalid: spec: Invalid value")),
        })
    }

    /// The restart as admission makes of it.
    fn meddled(&self, name: &str, mut patch: Value, meddling: Meddling, mark: &Value) -> Value {
        let removed: &[&str] = match meddling {
            Meddling::RemoveAnnotations => &["kubectl.kubernetes.io/restartedAt", "pushroll.dev/pushes"],
            Meddling::RemoveRecord => &["pushroll.dev/pushes"],
            Meddling::KeepAnnotations => {
                patch["spec"] = json!({});
                return patch;
            }
            Meddling::Annotate => {
                patch["metadata"]["annotations"][ANNOTATION] = mark.clone();
                return patch;
            }
            Meddling::PutBack => return patch,
        };
        let object = self.model.object(name).cloned().unwrap_or_default();
        let there = &object["spec"]["template"]["metadata"]["annotations"];
        if let Some(annotations) = patch["spec"]["template"]["metadata"]["annotations"].as_object_mut() {
            for key in removed {
                match there[key].is_string() {
                    true => annotations.insert((*key).to_owned(), Value::Null),
                    false => annotations.remove(*key),
                };
            }
            if annotations.is_empty() {
                patch["spec"] = json!({});
            }
        }
        patch
    }

    /// After a conflict, or a refusal that looks like one, who is alive looks again, after a pause.
    async fn looks_again(&mut self, sender: usize, path: &str) -> Result<(), Broken> {
        let began = Instant::now();
        let is_alive = self.replicas.iter().any(|running| running.sender == sender);
        // Unless it was the last attempt, or the delivery's end.
        while is_alive && !self.gate.holds(sender, path) && began.elapsed() < Duration::from_millis(200) {
            tokio::time::sleep(Duration::from_micros(500)).await;
            self.settle().await?;
        }
        Ok(())
    }

    /// Lets everything go until nothing is under way.
    pub(super) async fn drain(&mut self) -> Result<(), Broken> {
        let began = Instant::now();
        loop {
            while self.gate.waiting() > 0 {
                self.release(0, Fate::Arrive).await?;
            }
            let under_way = self.replicas.iter().map(|running| running.under_way.load(Ordering::SeqCst)).sum::<usize>();
            if under_way == 0 || !self.withheld.is_empty() {
                return Ok(());
            }
            if began.elapsed() > LIMIT {
                return Err("a delivery is never answered".to_owned());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
            self.settle().await?;
        }
    }
}

/// By the label that the selectors of the cases ask for.
fn workload_of_pods(call: &HeldCall) -> String {
    let selector = call.uri.split("labelSelector=").nth(1).unwrap_or_default();
    let selector = selector.split('&').next().unwrap_or_default().replace("%2D", "-").replace("%3D", "=");
    selector.trim_start_matches("app=").to_owned()
}

fn name(call: &HeldCall) -> String {
    call.path().rsplit('/').next().unwrap_or_default().to_owned()
}
