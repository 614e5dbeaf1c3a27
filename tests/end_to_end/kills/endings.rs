//! Three replicas that are killed at random while the rollouts of pushes end in every way. Whichever dies: each `complete`
//! and each `failed` has exactly one Event, at least one notification, and some replica has counted it.
//!
//! `PUSHROLL_ENDINGS=100` is a longer run.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::{RwLock, watch};

use crate::support::chance::Chance;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::try_send;
use crate::support::kubelet::{Kubelet, Life};
use crate::support::service::{Service, ServiceBuilder};
use crate::support::sink::{Does, Sink};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const REPLICAS: usize = 3;
/// Without `PUSHROLL_ENDINGS`: two of each [`Fate`].
const PUSHES: usize = 12;
/// Longest wait for one thing, in units of at least 10 s: a takeover takes 15 s, and there may be several.
const WAITS: usize = 20;
/// For each kill there are so many pushes.
const PUSHES_A_KILL: usize = 4;
const FOLLOWING: &str = "pushroll.dev/following";

pub fn tests(suite: &mut Suite) {
    suite.on_both(replicas_killed_at_random_report_each_ending);
}

/// How a rollout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Completes,
    CannotPull,
    Crashes,
    Recovers,
    IsSuperseded,
    IsDeleted,
}

const FATES: [Fate; 6] =
    [Fate::Completes, Fate::CannotPull, Fate::Crashes, Fate::Recovers, Fate::IsSuperseded, Fate::IsDeleted];

/// One push, and the one workload that it restarts.
struct Pushed {
    fate: Fate,
    workload: Value,
    message: PushMessage,
    byte: u8,
}

impl Pushed {
    /// The endings that are reported for certain.
    fn endings(&self) -> &'static [&'static str] {
        match self.fate {
            Fate::Completes => &["complete"],
            Fate::CannotPull | Fate::Crashes => &["failed"],
            Fate::Recovers => &["failed", "complete"],
            Fate::IsSuperseded | Fate::IsDeleted => &[],
        }
    }

    fn name(&self) -> &str {
        self.workload["metadata"]["name"].as_str().unwrap()
    }
}

/// What is there while replicas die.
struct Scene {
    ground: Ground,
    kubelet: Kubelet,
    sink: Sink,
    users: Vec<String>,
    replicas: RwLock<Vec<Service>>,
    /// What the replicas that were killed have left. Their logs are read to the end.
    dead: RwLock<Vec<Service>>,
    /// How much has come about: a push was acknowledged, or an ending is reported.
    progress: watch::Sender<usize>,
}

async fn replicas_killed_at_random_report_each_ending(ground: Ground) {
    let count = std::env::var("PUSHROLL_ENDINGS").map_or(PUSHES, |text| text.parse().unwrap());
    let scene = Scene::set(ground).await;
    let mut pushed: Vec<Pushed> = (0..count).map(|number| scene.prepare(number)).collect();
    for one in &pushed {
        scene.ground.create(&one.workload).await;
    }
    for one in &pushed {
        scene.kubelet.rolled_out(&one.workload).await;
    }
    // Its pods are older than the push.
    pushed.iter_mut().for_each(|one| one.message = PushMessage::now(&one.message.image, one.byte));
    let mut chance = Chance::new(0);
    let progress = pushed.iter().map(|one| 1 + one.endings().len()).sum();
    let mut kills: Vec<usize> = (0..count / PUSHES_A_KILL).map(|_| chance.below(progress)).collect();
    kills.sort_unstable();
    println!("seed {}: kills at {kills:?} of {progress}", chance.seed());
    let all = join_all(pushed.iter().map(|one| scene.play(one)));
    tokio::select! {
        _ = all => {}
        () = scene.kill(kills, &mut chance) => {}
    }
    scene.assert_reported(&pushed).await;
}

impl Scene {
    async fn set(ground: Ground) -> Self {
        let kubelet = ground.kubelet().await;
        let sink = Sink::start(Does::answer(200, "", "ok"));
        let users: Vec<String> = (0..REPLICAS).map(|_| ground.fresh_user()).collect();
        let replicas = join_all(users.iter().map(|user| replica(&ground, user, &sink).start_ready())).await;
        let (replicas, dead) = (RwLock::new(replicas), RwLock::default());
        Self { ground, kubelet, sink, users, replicas, dead, progress: watch::Sender::new(0) }
    }

    fn prepare(&self, number: usize) -> Pushed {
        let (name, byte) = (format!("w{number}"), u8::try_from(number).unwrap() + 2);
        let image = self.ground.image(&name);
        self.kubelet.push(&image, 1);
        let workload = match number / FATES.len() % 2 {
            0 => self.kubelet.deployment(&name, &image, 1),
            _ => self.kubelet.stateful_set(&name, &image, 1),
        };
        Pushed { fate: FATES[number % FATES.len()], workload, message: PushMessage::now(&image, byte), byte }
    }

    /// From the push to the end of its rollout.
    async fn play(&self, one: &Pushed) {
        self.kubelet.push(&one.message.image, one.byte);
        match one.fate {
            Fate::Completes => {}
            Fate::CannotPull => self.kubelet.refuse_pulls(&one.message.image, "ImagePullBackOff", "no such manifest"),
            Fate::Crashes | Fate::Recovers => self.kubelet.digest_lives(one.byte, Life::CrashLoop { restarts: 4 }),
            Fate::IsSuperseded | Fate::IsDeleted => self.kubelet.digest_lives(one.byte, Life::NotReady),
        }
        self.deliver(&one.message).await;
        self.progress.send_modify(|progress| *progress += 1);
        match one.fate {
            Fate::IsSuperseded => {
                let by_hand = json!({"kubectl.kubernetes.io/restartedAt": "2036-11-20T09:16:40Z"});
                let by_hand = json!({"spec": {"template": {"metadata": {"annotations": by_hand}}}});
                self.ground.patch(&one.workload, "kubectl-rollout", by_hand).await;
            }
            Fate::IsDeleted => self.ground.delete(&one.workload).await,
            Fate::Recovers => {
                // A failure that only a replica knew that is dead, and that is over, is not known any more.
                self.reported(one, "failed").await;
                self.kubelet.digest_lives(one.byte, Life::Runs);
            }
            Fate::Completes | Fate::CannotPull | Fate::Crashes => {}
        }
        for ending in one.endings() {
            self.reported(one, ending).await;
            self.progress.send_modify(|progress| *progress += 1);
        }
        if [Fate::Completes, Fate::Recovers, Fate::IsSuperseded].contains(&one.fate) {
            self.wait(&format!("{} is not followed any more", one.name()), async || {
                self.ground.get(&one.workload).await["metadata"]["labels"][FOLLOWING].is_null()
            })
            .await;
        }
    }

    /// Until it is acknowledged, as Pub/Sub does.
    async fn deliver(&self, message: &PushMessage) {
        let mut chance = Chance::new(u64::from(message.digest.as_bytes()[8]));
        self.wait("it is acknowledged", async || {
            let url = {
                let replicas = self.replicas.read().await;
                format!("{}/v1/push", replicas[chance.below(REPLICAS)].public)
            };
            let headers = [("content-type", "application/json")];
            let answer = try_send(Method::POST, &url, &headers, message.body()).await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// Waits for the Event of an ending, and for a notification of it.
    async fn reported(&self, one: &Pushed, ending: &str) {
        self.wait(&format!("{} is reported {ending}", one.name()), async || {
            self.notifications(one, ending) > 0 && self.events(one.name()).await.contains(&reason(ending).to_owned())
        })
        .await;
    }

    /// For a takeover it takes the time of a Lease, and there may be several.
    async fn wait(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..WAITS {
            let mut looks = 0;
            let looked = eventually(what, async || {
                tokio::time::sleep(Duration::from_millis(50)).await;
                looks += 1;
                if is_so().await { Some(true) } else { (looks == 200).then_some(false) }
            });
            if looked.await {
                return;
            }
        }
        let (replicas, dead) = (self.replicas.read().await, self.dead.read().await);
        let name = format!("/{}", what.split(' ').next().unwrap());
        for line in dead.iter().chain(replicas.iter()).flat_map(|replica| replica.log()) {
            if line["workload"].as_str().is_some_and(|workload| workload.ends_with(&name)) {
                eprintln!("{line}");
            }
        }
        panic!("{what}: never");
    }

    /// Kills a replica whenever so much has come about: the one that follows, or any.
    async fn kill(&self, kills: Vec<usize>, chance: &mut Chance) {
        let mut progress = self.progress.subscribe();
        for kill in kills {
            let _ = progress.wait_for(|progress| *progress >= kill).await;
            let leader = if chance.below(2) == 0 { self.leader().await } else { None };
            let victim = leader.unwrap_or_else(|| chance.below(REPLICAS));
            println!("{} {victim} is killed", if leader.is_some() { "leader" } else { "replica" });
            let user = &self.users[victim];
            self.replicas.read().await[victim].signal("KILL");
            let next = replica(&self.ground, user, &self.sink).start().await;
            let killed = std::mem::replace(&mut self.replicas.write().await[victim], next);
            self.dead.write().await.push(killed);
        }
        std::future::pending().await
    }

    /// The replica that holds the Lease, if it is alive: its identity has the id of its process.
    async fn leader(&self) -> Option<usize> {
        let namespace = self.ground.namespace();
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/pushroll-waiting");
        let lease = self.ground.request("GET", &path, None).await.ok()?;
        let process: u32 = lease["spec"]["holderIdentity"].as_str()?.rsplit('_').nth(1)?.parse().ok()?;
        self.replicas.read().await.iter().position(|replica| replica.process_id() == process)
    }

    /// The reasons of the Events on a workload.
    async fn events(&self, name: &str) -> Vec<String> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.ground.namespace());
        let events = self.ground.request("GET", &path, None).await.unwrap();
        let ours = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["reportingController"] == "pushroll" && event["regarding"]["name"] == name);
        ours.map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// How often the sink was sent an ending of a push.
    fn notifications(&self, one: &Pushed, ending: &str) -> usize {
        let received = self.sink.received();
        let of_it = received.iter().filter(|received| {
            let data = &received.body["data"];
            let workloads = data["workloads"].as_array().unwrap();
            data["push"]["message_id"] == one.message.id && workloads.iter().any(|one| one["ending"] == ending)
        });
        of_it.count()
    }

    async fn assert_reported(&self, pushed: &[Pushed]) {
        let (replicas, dead) = (self.replicas.read().await, self.dead.read().await);
        let logged = |service: &Service, ending: &str| -> Vec<String> {
            let lines = service.log().into_iter().filter(|line| line["ending"] == ending);
            lines.map(|line| line["message_id"].as_str().unwrap().to_owned()).collect()
        };
        for one in pushed {
            let what = format!("{} {:?}", one.name(), one.fate);
            let mut reasons = self.events(one.name()).await;
            reasons.retain(|reason| reason != "Restarted");
            reasons.sort_unstable();
            let mut expected: Vec<&str> = one.endings().iter().map(|ending| reason(ending)).collect();
            expected.sort_unstable();
            assert_eq!(reasons, expected, "{what}: each once");
            for ending in one.endings() {
                assert!(self.notifications(one, ending) > 0, "{what}: {ending}");
                let mut counted = replicas.iter().chain(dead.iter()).flat_map(|service| logged(service, ending));
                assert!(counted.any(|id| id == one.message.id), "{what}: {ending} was counted");
            }
        }
        // Log and metrics say the same. The metrics of a replica that was killed cannot be read any more.
        for (replica, ending) in replicas.iter().flat_map(|replica| [(replica, "complete"), (replica, "failed")]) {
            eventually("log and metrics say the same", async || {
                // One that is killed at the very end answers nothing.
                let url = format!("{}/metrics", replica.internal);
                let Ok(answer) = try_send(Method::GET, &url, &[], Vec::new()).await else { return Some(()) };
                let metrics = answer.text();
                let of_ending = metrics.lines().filter(|line| {
                    line.starts_with("pushroll_rollouts_total{") && line.contains(&format!("ending=\"{ending}\""))
                });
                let counts = of_ending.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
                (counts.sum::<f64>() == logged(replica, ending).len() as f64).then_some(())
            })
            .await;
        }
        println!("{} were killed, {} messages were sent", dead.len(), self.sink.received().len());
    }
}

fn replica(ground: &Ground, user: &str, sink: &Sink) -> ServiceBuilder {
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace(), "--deferred-poll", "100ms", "--watch"];
    let notify = format!("all=cloudevents:{}", sink.url);
    ground.service().user(user).arguments(arguments).environment(&[("PUSHROLL_NOTIFY", &notify)])
}

fn reason(ending: &str) -> &'static str {
    if ending == "failed" { "RolloutFailed" } else { "RolloutComplete" }
}
