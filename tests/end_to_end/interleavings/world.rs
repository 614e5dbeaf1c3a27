//! The small cluster of a case: its replicas behind the gate, its registry and Pub/Sub, its people; and how each step
//! is done to it. After each step all is still, so what happens next is the plan's to say.

mod calls;
mod peace;
mod people;
mod pulled;
mod pushes;
mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded_kubernetes::EmbeddedKubernetes;
use http::Method;
use jiff::Timestamp;
use pushroll::clock::Clock;
use serde_json::{Value, json};

use super::model::{Broken, Kept, Model};
use super::plan::{Kind, Meddling, Plan, Refusal, Step, TAGS, WorkloadPlan};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, digest, stateful_set};
use crate::support::gate::{Gate, Reply};
use replicas::Running;

/// The longest that anything which must come is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a case runs.
#[derive(Clone)]
pub struct Place {
    /// The API server.
    pub api: kube::Client,
    pub namespace: String,
    /// What tells the case's objects from those of others.
    pub prefix: String,
    pub watches: bool,
    /// Replicas pull what is delivered to them.
    pub is_pulled: bool,
    /// Its clock is ours to move, as all others are.
    pub embedded: Option<EmbeddedKubernetes>,
}

pub struct World {
    place: Place,
    model: Model,
    gate: Gate,
    replicas: Vec<Running>,
    workloads: Vec<Value>,
    /// What each tag has pointed to, and since when.
    tags: Vec<Vec<(u8, i64)>>,
    pushes: Vec<PushMessage>,
    clock_ms: &'static AtomicI64,
    answered: Arc<Mutex<Vec<(usize, u16, String)>>>,
    withheld: Vec<Reply>,
    next_sender: usize,
    unseen_grace: Duration,
    may_list_pods: bool,
    /// By the names of the workloads.
    refusals: BTreeMap<String, Refusal>,
    meddling: BTreeMap<String, Meddling>,
    /// The records that were kept in the ConfigMap when a PATCH came to the gate, by the number of its call.
    known_kept: BTreeMap<usize, Arc<Kept>>,
    /// Who has failed to read the ConfigMap at the last attempt.
    blind: BTreeSet<usize>,
    pub trace: Vec<String>,
}

impl Place {
    /// The ConfigMap of what waits.
    fn waiting(&self) -> String {
        format!("{}-waiting", self.prefix)
    }
}

impl World {
    pub async fn new(place: Place, plan: &Plan) -> Result<Self, Broken> {
        // One for each case, in a test program: it need not end.
        let clock_ms: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(Timestamp::now().as_millisecond())));
        let mut world = Self {
            place,
            model: Model::default(),
            gate: Gate::default(),
            replicas: Vec::new(),
            workloads: Vec::new(),
            tags: vec![Vec::new(); TAGS],
            pushes: Vec::new(),
            clock_ms,
            answered: Arc::default(),
            withheld: Vec::new(),
            next_sender: 0,
            unseen_grace: if plan.waits_for_unseen { Duration::from_secs(3600) } else { Duration::ZERO },
            may_list_pods: plan.may_list_pods,
            refusals: BTreeMap::new(),
            meddling: BTreeMap::new(),
            known_kept: BTreeMap::new(),
            blind: BTreeSet::new(),
            trace: Vec::new(),
        };
        world.pass(0);
        for tag in 0..TAGS {
            world.tags[tag].push((tag as u8, i64::MIN / 2));
            world.model.push_silently(&image(&world.place, tag), digest(tag as u8));
        }
        let waiting = json!({"metadata": {"name": world.place.waiting()}});
        let config_maps = format!("/api/v1/namespaces/{}/configmaps", world.place.namespace);
        let owner = world.ask(Method::POST, &config_maps, Some(&waiting)).await;
        let manifests = plan.workloads.iter().enumerate().map(|(n, plan)| manifest(&world.place, n, plan, &owner));
        world.workloads = manifests.collect();
        for (number, plan) in plan.workloads.iter().enumerate() {
            if plan.exists_at_first {
                world.create(number).await;
            }
        }
        for _ in 0..plan.replicas {
            let running = world.start().await;
            world.replicas.push(running);
        }
        world.settle().await?;
        Ok(world)
    }

    /// All steps, then peace: every message is delivered until it is acknowledged, and what waits comes due.
    pub async fn play(&mut self, plan: &Plan) -> Result<(), Broken> {
        for (number, step) in plan.steps.iter().enumerate() {
            self.trace.push(format!("{number}: {step:?}"));
            self.step(step).await?;
        }
        self.trace.push("the faults end".to_owned());
        self.peace().await?;
        self.model.at_rest()?;
        // The first times may bring a restart more: of a workload that came to run the tag after the push, which not every
        // replica knows yet, whose record somebody has taken away, or that a replica has once seen to run this digest.
        for round in 0.. {
            let before = self.model.templates();
            let replicas = if round == 0 { self.replicas.len() } else { 1 };
            for replica in 0..replicas {
                for message in 0..self.pushes.len() {
                    self.deliver(message, replica).await?;
                    self.drain().await?;
                    self.roll_out_all();
                }
            }
            self.wait_for_what_waits().await?;
            if round > 0 && self.model.templates() == before {
                break;
            }
            if round == 2 {
                return Err("what is delivered again and again restarts again and again".to_owned());
            }
        }
        self.model.at_rest()
    }

    /// Removes what the case has made.
    pub async fn leave(mut self) {
        self.replicas.clear();
        for number in 0..self.workloads.len() {
            if self.model.object(&name_of(&self.workloads[number])).is_some() {
                self.delete(number).await;
            }
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), Broken> {
        match step {
            Step::Publish { tag, content } => self.publish(*tag, *content),
            Step::Push { tag, content, replica } => {
                self.publish(*tag, *content);
                self.deliver(self.pushes.len() - 1, *replica).await?;
                self.drain().await?;
            }
            Step::Deliver { message, replica } => {
                if !self.pushes.is_empty() {
                    self.deliver(message % self.pushes.len(), *replica).await?;
                }
            }
            Step::DeliverNewest { replica } => {
                if let Some(newest) = self.pushes.len().checked_sub(1) {
                    self.deliver(newest, *replica).await?;
                }
            }
            Step::Release { call, fate } => {
                let waiting = self.gate.waiting();
                if waiting > 0 {
                    self.release(call % waiting, *fate).await?;
                }
            }
            Step::Drain => self.drain().await?,
            Step::Crash { replica } => {
                let replica = replica % self.replicas.len();
                self.gate.silence(self.replicas[replica].sender);
                let new = self.start().await;
                self.replicas[replica] = new;
            }
            Step::Look { replica } => self.look(*replica).await?,
            Step::Edit { workload, edit } => self.edit(workload % self.workloads.len(), edit).await?,
            Step::Time(seconds) => self.pass(i64::from(*seconds) * 1000),
            Step::Stall { replica, is_stalled } => {
                let replica = replica % self.replicas.len();
                self.replicas[replica].stall.set(*is_stalled);
            }
            Step::Refuse { workload, refusal } => {
                let name = self.name_at(*workload);
                set(&mut self.refusals, name, *refusal);
            }
            Step::Meddle { workload, meddling } => {
                let name = self.name_at(*workload);
                set(&mut self.meddling, name, *meddling);
            }
            Step::Forbid { kind, is_forbidden } => self.forbid(*kind, *is_forbidden),
            Step::LookForUnseen { replica } => self.look_for_unseen(*replica).await?,
            Step::RollOut { workload } => {
                let name = self.name_at(*workload);
                self.model.rolls_out(&name);
            }
        }
        self.settle().await
    }

    // --- Clocks: one for everybody, where it can be moved. ---

    fn now(&self) -> Timestamp {
        if self.place.embedded.is_none() {
            return Timestamp::now();
        }
        Timestamp::from_millisecond(self.clock_ms.load(Ordering::SeqCst)).unwrap()
    }

    fn pass(&self, milliseconds: i64) {
        self.clock_ms.fetch_add(milliseconds, Ordering::SeqCst);
        if let Some(embedded) = &self.place.embedded {
            embedded.hold_clock_at(self.now());
        }
    }

    fn clock(&self) -> Clock {
        if self.place.embedded.is_some() { Clock::held_at(self.clock_ms) } else { Clock::system() }
    }

    fn roll_out_all(&mut self) {
        for name in self.model.names() {
            self.model.rolls_out(&name);
        }
    }

    fn name_at(&self, workload: usize) -> String {
        name_of(&self.workloads[workload % self.workloads.len()])
    }

    /// A replica whose watch sees nothing at all never becomes live, so one kind is left to see.
    fn forbid(&self, kind: Kind, is_forbidden: bool) {
        let others = Kind::ALL.iter().filter(|other| **other != kind);
        let mut seen = others.filter(|other| !self.gate.is_forbidden(other.plural()));
        if !(is_forbidden && self.place.watches && seen.next().is_none()) {
            self.gate.forbid(kind.plural(), is_forbidden);
        }
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, name: String, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(name, value)),
        None => drop(map.remove(&name)),
    }
}

fn image(place: &Place, tag: usize) -> String {
    format!("registry.example/{}/{}-{tag}:1", place.namespace, place.prefix)
}

/// `owner` stands for the custom resource whose controller has made the workload, where it has one.
fn manifest(place: &Place, number: usize, plan: &WorkloadPlan, owner: &Value) -> Value {
    let name = format!("{}-w{number}", place.prefix);
    let of_kind = match plan.kind {
        Kind::Deployment => deployment,
        Kind::StatefulSet => stateful_set,
        Kind::DaemonSet => daemon_set,
    };
    let mut manifest = of_kind(&place.namespace, &name, "replaced");
    let container = |(number, tag): (usize, &usize)| json!({"name": format!("c{number}"), "image": image(place, *tag), "imagePullPolicy": "Always"});
    manifest["spec"]["template"]["spec"]["containers"] = plan.tags.iter().enumerate().map(container).collect();
    if plan.has_cooldown {
        manifest["metadata"]["annotations"] = json!({"pushroll.dev/cooldown": "30s"});
    }
    if plan.has_controller {
        let (name, uid) = (&owner["metadata"]["name"], &owner["metadata"]["uid"]);
        manifest["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true}]);
    }
    manifest
}

fn name_of(manifest: &Value) -> String {
    manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
