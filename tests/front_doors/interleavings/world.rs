//! The small cluster of a case: its replicas behind the gate, its registry and Pub/Sub, its people; and how each step
//! is done to it. After each step all is still, so what happens next is the plan's to say.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use pushroll::cache::WatchConfig;
use pushroll::clock::Clock;
use pushroll::embedded::EmbeddedKubernetes;
use serde_json::{Value, json};

use super::model::{Broken, Model, images};
use super::plan::{Content, Edit, Fate, Kind, Plan, Step, TAGS, WorkloadPlan};
use crate::support::fixtures::{PushMessage, collection, daemon_set, deployment, digest, stateful_set};
use crate::support::gate::{Gate, Reply, Stall};
use crate::support::replica::Replica;

/// The longest that anything which must come is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// How often each unacknowledged message is delivered again in the end, without faults: far more than once.
const ROUNDS: usize = 5;
/// As `--clock-margin`: what is further apart is certain.
const MARGIN_MS: i64 = 10_000;

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
    /// Deliveries that it works on.
    deliveries: Arc<AtomicUsize>,
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
        let replica = Replica::start(&self.place.namespace, client, self.clock(), watch);
        if self.place.watches {
            let began = Instant::now();
            while !replica.watch_is_live() {
                assert!(began.elapsed() < LIMIT, "the watch does not become live");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Running { replica, sender, stall, deliveries: Arc::default() }
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

    // --- The registry and Pub/Sub. ---

    fn publish(&mut self, tag: usize, content: Content) {
        self.pass(10);
        let now = self.now();
        let history = &self.tags[tag];
        let fresh = history.iter().map(|(byte, _)| *byte).max().unwrap_or_default().saturating_add(TAGS as u8);
        let current = history[history.len() - 1].0;
        let byte = match content {
            Content::Fresh => fresh,
            Content::Same => current,
            Content::Back => {
                let before = history.iter().rev().map(|(byte, _)| *byte).find(|byte| *byte != current);
                before.filter(|byte| !leaves_a_doubt(history, *byte)).unwrap_or(fresh)
            }
        };
        self.tags[tag].push((byte, now.as_millisecond()));
        let image = image(&self.place, tag);
        let id = (100_000 + self.pushes.len()).to_string();
        self.model.publish(id.clone(), &image, digest(byte), format!("{now:.3}"));
        self.trace.push(format!("   {id}: {image} is {byte:02x} at {now:.3}"));
        self.pushes.push(PushMessage { image, digest: digest(byte), id, published: now });
    }

    async fn deliver(&mut self, message: usize, replica: usize) -> Result<(), Broken> {
        let count = self.replicas.len();
        let running = &mut self.replicas[replica % count];
        let answered = Arc::clone(&self.answered);
        self.trace.push(format!("   {} goes to {}", self.pushes[message].id, running.sender));
        let deliveries = Arc::clone(&running.deliveries);
        deliveries.fetch_add(1, Ordering::SeqCst);
        running.replica.deliver(&self.pushes[message], async move |status, answer| {
            let codes: Vec<String> =
                answer.workloads.iter().map(|result| format!("{} {:?}", result.name, result.code)).collect();
            answered.lock().unwrap().push((message, status, codes.join(", ")));
            deliveries.fetch_sub(1, Ordering::SeqCst);
        });
        self.settle().await
    }

    // --- Calls. ---

    async fn release(&mut self, place: usize, fate: Fate) -> Result<(), Broken> {
        let call = self.gate.take(place);
        let what = format!("{} {} of {}", call.method, call.path().rsplit('/').next().unwrap_or_default(), call.sender);
        let (sender, path, is_patch) = (call.sender, call.path().to_owned(), call.is_patch());
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
            let written = self.model.written(&name, after);
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
            let under_way =
                self.replicas.iter().map(|running| running.deliveries.load(Ordering::SeqCst)).sum::<usize>();
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
        let (count, begun, began) = (self.replicas.len(), Arc::new(AtomicUsize::new(0)), Instant::now());
        self.replicas[replica % count].replica.look(&begun);
        while begun.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < LIMIT, "it does not look");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        self.settle().await
    }

    // --- The end. ---

    async fn peace(&mut self) -> Result<(), Broken> {
        self.withheld.clear();
        self.replicas.iter().for_each(|running| running.stall.set(false));
        self.settle().await?;
        self.drain().await?;
        for name in self.model.names() {
            if self.model.object(&name).is_some_and(|object| object["spec"]["paused"] == true) {
                self.patch(&name, "owner", json!({"spec": {"paused": false}})).await;
            }
        }
        for round in 0..=ROUNDS {
            let left: Vec<usize> =
                (0..self.pushes.len()).filter(|message| !self.model.messages[*message].is_acknowledged).collect();
            if left.is_empty() {
                break;
            }
            if round == ROUNDS {
                return Err(format!("{left:?} are never acknowledged"));
            }
            for message in left {
                self.deliver(message, message + round).await?;
                self.drain().await?;
            }
        }
        self.wait_out_cooldowns().await
    }

    async fn wait_out_cooldowns(&mut self) -> Result<(), Broken> {
        for attempt in 0..=ROUNDS {
            let deferring = self.model.deferring();
            if deferring.is_empty() {
                return Ok(());
            }
            if attempt == ROUNDS {
                return Err(format!("what waits on {deferring:?} is never done"));
            }
            self.pass(60_000);
            if self.place.embedded.is_none() {
                for name in deferring {
                    let no_cooldown = json!({"metadata": {"annotations": {"pushroll.dev/cooldown": null}}});
                    self.patch(&name, "owner", no_cooldown).await;
                }
            }
            self.look(attempt).await?;
            self.drain().await?;
        }
        Ok(())
    }

    // --- People. ---

    async fn edit(&mut self, number: usize, edit: &Edit) -> Result<(), Broken> {
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
                    self.undo(&name, &template, is_deployment.then_some(&annotations)).await;
                }
            }
            Edit::OptOut(opts_out) => {
                let value = if *opts_out { json!("false") } else { Value::Null };
                self.patch(&name, "owner", annotations("pushroll.dev/restart", value)).await;
            }
            Edit::Delete => self.delete(number).await,
            Edit::Scale(_) | Edit::Pause(_) | Edit::Restart | Edit::Undo(_) | Edit::Create => {}
        }
        self.tell_watches(&name).await
    }

    /// A workload that runs a tag since a moment ago may be missed by a replica whose watch has not told it yet, which
    /// is known (ARCHITECTURE.md, "The watch"): in the model pods pull at once.
    async fn tell_watches(&mut self, name: &str) -> Result<(), Broken> {
        self.settle().await?;
        let Some(object) = self.model.object(name).filter(|_| self.place.watches) else { return Ok(()) };
        let (images, began) = (images(object), Instant::now());
        let knows = |running: &Running| images.iter().all(|image| running.replica.knows(image, name));
        if !self.replicas.iter().all(knows) {
            self.replicas.iter().for_each(|running| running.stall.set(false));
        }
        while !self.replicas.iter().all(knows) {
            assert!(began.elapsed() < LIMIT, "a watch does not tell");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.settle().await
    }

    async fn create(&mut self, number: usize) {
        let manifest = self.workloads[number].clone();
        let path = format!("{}?fieldManager=creator", collection(&manifest));
        let object = self.ask(Method::POST, &path, Some(&manifest)).await;
        self.model.created(&name_of(&manifest), object);
    }

    async fn delete(&mut self, number: usize) {
        let manifest = self.workloads[number].clone();
        self.ask(Method::DELETE, &path_of(&manifest), None).await;
        self.model.deleted(&name_of(&manifest));
    }

    async fn patch(&mut self, name: &str, manager: &str, patch: Value) {
        let manifest = self.workloads.iter().find(|manifest| name_of(manifest) == name).unwrap();
        let path = format!("{}?fieldManager={manager}", path_of(manifest));
        let object = self.ask(Method::PATCH, &path, Some(&patch)).await;
        self.model.edited(name, object);
    }

    /// The old pod template whole and, of a Deployment, the annotations of its ReplicaSet; no labels.
    async fn undo(&mut self, name: &str, template: &Value, annotations: Option<&Value>) {
        let manifest = self.workloads.iter().find(|manifest| name_of(manifest) == name).unwrap();
        let path = path_of(manifest);
        loop {
            let mut object = self.ask(Method::GET, &path, None).await;
            object["spec"]["template"] = template.clone();
            if let Some(annotations) = annotations {
                object["metadata"]["annotations"] = annotations.clone();
            }
            let put = self.try_ask(Method::PUT, &format!("{path}?fieldManager=kubectl"), Some(&object)).await;
            match put {
                Ok(object) => return self.model.edited(name, object),
                // A controller has written its status meanwhile.
                Err(409) => {}
                Err(code) => panic!("an undo is refused: {code}"),
            }
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
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

fn path_of(manifest: &Value) -> String {
    format!("{}/{}", collection(manifest), name_of(manifest))
}

/// The one thing that is known to be missed (ARCHITECTURE.md, "Why a push rolls a workload exactly once"): a tag that
/// moves from one digest to another, and within the margin back, and then to the other once more.
fn leaves_a_doubt(history: &[(u8, i64)], byte: u8) -> bool {
    let came = |place: &usize| history[*place].0 == byte;
    (0..history.len()).filter(came).any(|place| {
        let (before, after) = (&history[..place], &history[place + 1..]);
        let is_soon = |since: i64| SignedDuration::from_millis(since) <= SignedDuration::from_millis(MARGIN_MS);
        after.iter().any(|(other, at)| {
            *other != byte && is_soon(at - history[place].1) && before.iter().any(|(earlier, _)| earlier == other)
        })
    })
}
