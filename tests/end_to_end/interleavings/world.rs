//! The small cluster of a case: its replicas behind the gate, its registry and Pub/Sub, its people; and how each step
//! is done to it. After each step all is still, so what happens next is the plan's to say.

mod peace;
mod people;
mod pushes;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use embedded_kubernetes::EmbeddedKubernetes;
use http::Method;
use jiff::Timestamp;
use pushroll::cache::WatchConfig;
use pushroll::clock::Clock;
use serde_json::{Value, json};

use super::model::{Broken, Model};
use super::plan::{Fate, Kind, Plan, Step, TAGS, WorkloadPlan};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, digest, stateful_set};
use crate::support::gate::{Gate, Reply, Stall};
use crate::support::replica::Replica;

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
    pub trace: Vec<String>,
}

struct Running {
    replica: Replica,
    sender: usize,
    stall: Stall,
    /// Deliveries and looks that it works on.
    under_way: Arc<AtomicUsize>,
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
        let workloads = plan.workloads.iter().enumerate().map(|(n, plan)| manifest(&place, n, plan)).collect();
        let mut world = Self {
            place,
            model: Model::default(),
            gate: Gate::default(),
            replicas: Vec::new(),
            workloads,
            tags: vec![Vec::new(); TAGS],
            pushes: Vec::new(),
            clock_ms,
            answered: Arc::default(),
            withheld: Vec::new(),
            next_sender: 0,
            trace: Vec::new(),
        };
        world.pass(0);
        for tag in 0..TAGS {
            world.tags[tag].push((tag as u8, i64::MIN / 2));
            world.model.push_silently(&image(&world.place, tag), digest(tag as u8));
        }
        let waiting = json!({"metadata": {"name": world.place.waiting()}});
        let config_maps = format!("/api/v1/namespaces/{}/configmaps", world.place.namespace);
        world.ask(Method::POST, &config_maps, Some(&waiting)).await;
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
        // The first time may bring a restart more: of a workload that came to run the tag after the push, which not every
        // replica knows yet, or whose record somebody has taken away.
        for round in 0..2 {
            let before = self.model.templates();
            let replicas = if round == 0 { self.replicas.len() } else { 1 };
            for replica in 0..replicas {
                for message in 0..self.pushes.len() {
                    self.deliver(message, replica).await?;
                    self.drain().await?;
                }
            }
            self.wait_out_cooldowns().await?;
            if round > 0 && self.model.templates() != before {
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

    // --- Replicas. ---

    async fn start(&mut self) -> Running {
        let sender = self.next_sender;
        self.next_sender += 1;
        let stall = Stall::default();
        let client = self.gate.client(sender, &self.place.api, &stall);
        let watch = self.place.watches.then(|| WatchConfig::new(format!("replica-{sender}")));
        let waiting = self.place.waiting();
        let replica = Replica::start(&self.place.namespace, &waiting, client, self.clock(), watch);
        if self.place.watches {
            let began = Instant::now();
            while !replica.watch_is_live() {
                assert!(began.elapsed() < LIMIT, "the watch does not become live");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Running { replica, sender, stall, under_way: Arc::default() }
    }

    /// Waits until everything that is alive waits: at the gate, or for somebody who does.
    async fn settle(&mut self) -> Result<(), Broken> {
        let (began, mut quiet) = (Instant::now(), 0);
        let mut seen = self.gate.activity().1;
        // On a real API server others have their say as well, in their own time.
        let enough = if self.place.embedded.is_some() { 1 } else { 3 };
        while quiet < enough {
            for _ in 0..40 {
                tokio::task::yield_now().await;
            }
            let (is_still, arrivals) = self.gate.activity();
            quiet = if is_still && arrivals == seen { quiet + 1 } else { 0 };
            seen = arrivals;
            if self.place.embedded.is_none() || (quiet == 0 && !is_still) {
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            if began.elapsed() > LIMIT {
                return Err("it does not come to rest".to_owned());
            }
        }
        let answered = std::mem::take(&mut *self.answered.lock().unwrap());
        for (message, status, answer) in answered {
            self.trace.push(format!("   {} is answered {status} {answer}", self.pushes[message].id));
            if status == 200 {
                self.model.acknowledged(message)?;
            }
        }
        Ok(())
    }

    // --- Calls. ---

    async fn release(&mut self, place: usize, fate: Fate) -> Result<(), Broken> {
        let call = self.gate.take(place);
        let what = format!("{} {} of {}", call.method, call.path().rsplit('/').next().unwrap_or_default(), call.sender);
        let (sender, path, is_patch) = (call.sender, call.path().to_owned(), call.is_patch());
        let is_about_what_waits = call.is_about_what_waits();
        if matches!(fate, Fate::Refuse) {
            self.trace.push(format!("   {what}: never arrives"));
            call.refuse(503);
            return self.settle().await;
        }
        let (response, reply) = call.arrive(&self.place.api).await;
        let status = response.status().as_u16();
        let mut said = format!("   {what}: {status}");
        if is_patch && status == 200 {
            let after: Value = serde_json::from_slice(response.body()).unwrap();
            let name = after["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let written = match is_about_what_waits {
                true => self.model.waiting_written(&after["data"]),
                false => self.model.written(&name, after),
            };
            said.push_str(&format!(", {}", written.as_deref().unwrap_or("and that breaks a rule")));
            self.trace.push(said);
            written?;
        } else {
            self.trace.push(said);
        }
        match fate {
            Fate::Arrive | Fate::Refuse => reply.send(response),
            Fate::LoseAnswer => drop(reply),
            Fate::WithholdAnswer => self.withheld.push(reply),
        }
        self.settle().await?;
        if is_patch && status == 409 && matches!(fate, Fate::Arrive) {
            self.looks_again(sender, &path).await?;
        }
        Ok(())
    }

    /// After a conflict who is alive looks again, after a pause.
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
    async fn drain(&mut self) -> Result<(), Broken> {
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

    async fn look(&mut self, replica: usize) -> Result<(), Broken> {
        let count = self.replicas.len();
        let Running { replica, under_way, .. } = &mut self.replicas[replica % count];
        replica.look(under_way);
        self.settle().await
    }
}

fn image(place: &Place, tag: usize) -> String {
    format!("registry.example/{}/{}-{tag}:1", place.namespace, place.prefix)
}

fn manifest(place: &Place, number: usize, plan: &WorkloadPlan) -> Value {
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
    manifest
}

fn name_of(manifest: &Value) -> String {
    manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
