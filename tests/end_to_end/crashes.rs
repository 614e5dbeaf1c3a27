//! A replica dies, or loses an answer, at each point between receiving a push and answering it; then the push is
//! delivered again, to it or to another, before its death or after. Every workload is rolled exactly once.
//!
//! In this process a layer under its client holds the calls and its threads end; a process of its own is reached through
//! a proxy and gets SIGKILL.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::{Answer, try_send};
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_crash_at_any_point_leaves_one_rollout);
    suite.on_both(a_crash_at_any_point_under_a_watch_leaves_one_rollout);
    suite.on_both(a_kill_at_any_point_leaves_one_rollout);
    suite.on_both(a_kill_at_any_point_under_a_watch_leaves_one_rollout);
}

async fn a_crash_at_any_point_leaves_one_rollout(ground: Ground) {
    every_crash(ground, Replicas::InProcess, false).await;
}

async fn a_crash_at_any_point_under_a_watch_leaves_one_rollout(ground: Ground) {
    every_crash(ground, Replicas::InProcess, true).await;
}

async fn a_kill_at_any_point_leaves_one_rollout(ground: Ground) {
    every_crash(ground, Replicas::Processes, false).await;
}

async fn a_kill_at_any_point_under_a_watch_leaves_one_rollout(ground: Ground) {
    every_crash(ground, Replicas::Processes, true).await;
}

/// What the replicas are.
#[derive(Debug, Clone, Copy)]
enum Replicas {
    InProcess,
    Processes,
}

/// Where it is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The push is received, and no workload was looked at.
    BeforeGet,
    /// The workloads were looked at, and no PATCH has arrived.
    AfterGet,
    /// Each PATCH was applied, and no answer came.
    AfterPatch,
    /// Half of a hundred workloads are done.
    HalfWay,
}

/// Who gets the push again, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redelivery {
    /// The same replica, which died and was started again.
    ToTheNextLife,
    /// Another, after its death.
    ToAnother,
    /// Another, which is done with it when the first dies.
    BeforeTheDeath,
    /// Another, which is done with it when the first goes on where it was.
    AndItLives,
}

const POINTS: [Point; 4] = [Point::BeforeGet, Point::AfterGet, Point::AfterPatch, Point::HalfWay];
const REDELIVERIES: [Redelivery; 4] =
    [Redelivery::ToTheNextLife, Redelivery::ToAnother, Redelivery::BeforeTheDeath, Redelivery::AndItLives];
/// More would only wait for each other's processors.
const AT_ONCE: usize = 3;

async fn every_crash(ground: Ground, replicas: Replicas, watches: bool) {
    let pairs = POINTS.into_iter().flat_map(|point| REDELIVERIES.map(|redelivery| (point, redelivery)));
    let pairs = pairs.filter(|(point, redelivery)| {
        // Under a watch there is no look before the PATCH; an answer that never comes is nothing to go on from.
        !(watches && *point == Point::BeforeGet || *point == Point::AfterPatch && *redelivery == Redelivery::AndItLives)
    });
    let crashes = pairs.map(|(point, redelivery)| {
        let stage = Stage { ground: ground.clone(), replicas, watches, point, redelivery };
        stage.play()
    });
    stream::iter(crashes).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

struct Stage {
    ground: Ground,
    replicas: Replicas,
    watches: bool,
    point: Point,
    redelivery: Redelivery,
}

/// Catches the calls of a replica at a point.
#[derive(Clone)]
struct Trap {
    point: Point,
    /// The part of a path that is in those of the stage's workloads alone.
    of: Arc<str>,
    caught: Arc<watch::Sender<bool>>,
    is_open: Arc<watch::Sender<bool>>,
}

impl Trap {
    async fn pass(self, request: ApiRequest) -> Passage {
        if !request.uri.contains(&*self.of) {
            return Passage::Forward;
        }
        let is_here = match self.point {
            Point::BeforeGet => request.is_get(),
            Point::AfterGet => request.is_patch(),
            Point::HalfWay => request.is_patch() && number(&request) >= 50,
            Point::AfterPatch if request.is_patch() => return Passage::WithholdAnswer,
            Point::AfterPatch => false,
        };
        if is_here {
            self.caught.send_replace(true);
            let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
        }
        Passage::Forward
    }
}

impl Stage {
    async fn play(self) {
        let name = format!("{:?}-{:?}", self.point, self.redelivery).to_lowercase();
        let (image, namespace) = (self.ground.image(&name), self.ground.namespace());
        let workloads = match self.point {
            Point::HalfWay => {
                (0..100).map(|number| idle(deployment(namespace, &format!("{name}-{number}"), &image))).collect()
            }
            _ => vec![
                idle(deployment(namespace, &format!("{name}-d"), &image)),
                idle(stateful_set(namespace, &format!("{name}-s"), &image)),
                daemon_set(namespace, &format!("{name}-e"), &image),
            ],
        };
        let creations = stream::iter(&workloads).map(|workload| self.ground.create(workload));
        creations.buffer_unordered(8).collect::<Vec<_>>().await;

        let trap =
            Trap { point: self.point, of: format!("/{name}-").into(), caught: Arc::default(), is_open: Arc::default() };
        let first = self.replica(Some(trap.clone())).await;
        // A replica of its own each, or one that is there already.
        let another = if self.redelivery == Redelivery::ToTheNextLife { None } else { Some(self.replica(None).await) };
        let push = PushMessage::now(&image, 0xaa);
        let (url, body) = (format!("{}/v1/push", first.public), push.body());
        let delivery = tokio::spawn(async move { try_send(http::Method::POST, &url, &[], body).await });
        self.wait_until_caught(&trap, &workloads).await;

        let what = format!("{:?} {name} watch={}", self.replicas, self.watches);
        match self.redelivery {
            Redelivery::ToTheNextLife | Redelivery::ToAnother => {
                drop(first);
                assert_not_acknowledged(delivery.await.unwrap(), &what);
                let again = match another {
                    Some(another) => another,
                    None => self.replica(None).await,
                };
                self.redeliver(&again, &push, &workloads, &what).await;
            }
            Redelivery::BeforeTheDeath => {
                self.redeliver(another.as_ref().unwrap(), &push, &workloads, &what).await;
                drop(first);
                assert_not_acknowledged(delivery.await.unwrap(), &what);
            }
            Redelivery::AndItLives => {
                self.redeliver(another.as_ref().unwrap(), &push, &workloads, &what).await;
                trap.is_open.send_replace(true);
                let answer = delivery.await.unwrap().unwrap();
                // As well as it can: where it took long until it went on, its calls have timed out.
                assert!([200, 503].contains(&answer.status.as_u16()), "{what}: {}", answer.text());
            }
        }
        for workload in &workloads {
            let object = self.ground.get(workload).await;
            assert_eq!(object["metadata"]["generation"], 2, "{what}: {object}");
            let record = &object["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"];
            assert!(record.as_str().unwrap().contains(&push.id), "{what}: {object}");
        }
    }

    async fn wait_until_caught(&self, trap: &Trap, workloads: &[Value]) {
        if self.point != Point::AfterPatch {
            trap.caught.subscribe().wait_for(|caught| *caught).await.unwrap();
        }
        let done = match self.point {
            Point::BeforeGet | Point::AfterGet => return,
            Point::AfterPatch => workloads.len(),
            Point::HalfWay => 50,
        };
        eventually("the restarts are written", async || {
            let generations =
                stream::iter(workloads).map(|workload| self.ground.generation(workload)).buffer_unordered(8);
            let written = generations.filter(|generation| std::future::ready(*generation == 2)).count().await;
            assert!(written <= done, "{written}");
            (written == done).then_some(())
        })
        .await;
    }

    /// Whoever was not rolled yet is, and nobody else.
    async fn redeliver(&self, replica: &Service, push: &PushMessage, workloads: &[Value], what: &str) {
        let done = match self.point {
            Point::BeforeGet | Point::AfterGet => 0,
            Point::AfterPatch => workloads.len(),
            Point::HalfWay => 50,
        };
        for done in [done, workloads.len()] {
            let answer = replica.push(push).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            let answer = answer.json();
            let results = answer["workloads"].as_array().unwrap();
            let count = |code: &str| results.iter().filter(|result| result["code"] == code).count();
            let counts = (count("already_restarted"), count("runs_image"));
            assert_eq!(counts, (done, workloads.len() - done), "{what}: {answer}");
        }
    }

    async fn replica(&self, trap: Option<Trap>) -> Service {
        let namespace = self.ground.namespace();
        let service = match self.replicas {
            Replicas::InProcess => {
                let service = self.ground.service_in_process().configure(|config| {
                    config.policy.namespaces = vec![namespace.to_owned()];
                    // Half of a hundred are done before those that wait take up every place.
                    config.cluster.concurrency = 100;
                    config.cache.watch = self.watches;
                });
                match trap {
                    None => service.start_ready().await,
                    Some(trap) => service.faults(move |request| trap.clone().pass(request)).start_ready().await,
                }
            }
            Replicas::Processes => {
                let arguments = ["--hold", "60s", "--namespaces", namespace, "--concurrency", "100"];
                let mut service = self.ground.service().arguments(arguments);
                if self.watches {
                    service = service.arguments(["--watch"]);
                }
                if let Some(trap) = trap {
                    let proxy = ApiProxy::start(&self.ground, move |request| trap.clone().pass(request)).await;
                    service = service.through(&proxy);
                }
                service.start_ready().await
            }
        };
        if self.watches {
            service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
        }
        service
    }
}

/// Of the workload that a call is about: `NAME-7` is 7.
fn number(request: &ApiRequest) -> usize {
    let path = request.uri.split('?').next().unwrap_or_default();
    path.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Cut off; or nacked, where it took so long that its calls timed out before it died.
fn assert_not_acknowledged(answer: Result<Answer, impl std::fmt::Debug>, what: &str) {
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 503), "{what}: {answer:?}");
}

/// No controller writes to it between a look and a PATCH.
fn idle(mut workload: Value) -> Value {
    workload["spec"]["replicas"] = json!(0);
    workload
}
