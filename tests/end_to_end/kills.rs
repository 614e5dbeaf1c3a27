//! Three replicas, 1,000 deliveries and more of 100 pushes over 50 workloads, and replicas that are killed and started
//! again all the time. What was nacked or cut off comes again, and what was acknowledged may, as from Pub/Sub. In the
//! end no workload was rolled more often than its images were pushed: once for each push, or once for two pushes that
//! came together.

mod endings;
mod pulled;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt as _};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::chance::Chance;
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::try_send;
use crate::support::service::{Service, ServiceBuilder};
use crate::support::suite::Suite;
use crate::support::waiting::record;

const REPLICAS: usize = 3;
const WORKLOADS: usize = 50;
const IMAGES: usize = 25;
/// Each pushes every image once.
const WAVES: usize = 4;
/// Of each wave, as far as nothing is nacked or cut off.
const DELIVERIES: usize = 250;
/// Deliveries under way at once.
const AT_ONCE: usize = 12;
/// A replica is killed when so many more deliveries have been answered or cut off.
const KILL_EVERY: usize = 25;

pub fn tests(suite: &mut Suite) {
    suite.on_both(replicas_killed_at_random_roll_each_workload_once_a_push);
    endings::tests(suite);
    pulled::tests(suite);
}

/// What is shared by those who deliver and who kills.
struct Storm {
    /// Where the replicas listen; nowhere, who is dead: Kubernetes sends nothing there.
    urls: watch::Sender<Vec<Option<String>>>,
    pushes: Mutex<Vec<Sent>>,
    /// Pushes to be delivered, by their place.
    queue: Mutex<VecDeque<usize>>,
    chance: Mutex<Chance>,
    /// Deliveries that have come to an end.
    ended: watch::Sender<usize>,
    nacked: AtomicUsize,
    cut: AtomicUsize,
    kills: AtomicUsize,
}

struct Sent {
    message: PushMessage,
    is_acknowledged: bool,
}

async fn replicas_killed_at_random_roll_each_workload_once_a_push(ground: Ground) {
    let (images, workloads) = create_workloads(&ground).await;
    let users: Vec<String> = (0..REPLICAS).map(|_| ground.fresh_user()).collect();
    let mut replicas = Vec::new();
    for (number, user) in users.iter().enumerate() {
        replicas.push(replica(&ground, number, user).start_ready().await);
    }
    let storm = Arc::new(Storm {
        urls: watch::Sender::new(replicas.iter().map(push_url).collect()),
        pushes: Mutex::default(),
        queue: Mutex::default(),
        chance: Mutex::new(Chance::new(0)),
        ended: watch::Sender::new(0),
        nacked: AtomicUsize::new(0),
        cut: AtomicUsize::new(0),
        kills: AtomicUsize::new(0),
    });
    let waves = async {
        for wave in 0..WAVES {
            storm.publish(wave, &images);
            let deliverers = (0..AT_ONCE).map(|_| tokio::spawn(Arc::clone(&storm).deliver_all()));
            for deliverer in deliverers.collect::<Vec<_>>() {
                deliverer.await.unwrap();
            }
        }
    };
    tokio::select! {
        () = waves => {}
        () = kill_again_and_again(&storm, &ground, &users, &mut replicas) => panic!("it kills as long as there is a storm"),
    }
    let total = *storm.ended.borrow();
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let (nacked, cut, kills) = (count(&storm.nacked), count(&storm.cut), count(&storm.kills));
    let seed = storm.chance.lock().unwrap().seed();
    let what = format!("seed {seed}: {kills} kills, {total} deliveries, {nacked} nacked, {cut} cut off");
    println!("{what}");
    assert!(total >= WAVES * DELIVERIES && cut > 0, "{what}");
    for (number, workload) in workloads.iter().enumerate() {
        let object = ground.get(workload).await;
        // Two images, each pushed once in each wave.
        let rolled = object["metadata"]["generation"].as_u64().unwrap() - 1;
        assert!((WAVES as u64..=2 * WAVES as u64).contains(&rolled), "{what}: {number} {object}");
        let record = record(&object);
        for image in images_of(number) {
            let newest = storm.pushes.lock().unwrap()[(WAVES - 1) * IMAGES + image].message.id.clone();
            assert_eq!(record[&images[image]]["message_id"], newest, "{what}: {number} {record}");
        }
    }
}

async fn create_workloads(ground: &Ground) -> (Vec<String>, Vec<Value>) {
    let images: Vec<String> = (0..IMAGES).map(|number| ground.image(&format!("image-{number}"))).collect();
    let workloads: Vec<Value> = (0..WORKLOADS).map(|number| workload(ground, number, &images)).collect();
    stream::iter(&workloads).map(|workload| ground.create(workload)).buffer_unordered(8).collect::<Vec<_>>().await;
    (images, workloads)
}

/// The two images of a workload.
fn images_of(workload: usize) -> [usize; 2] {
    [workload % IMAGES, (workload + 7 + workload / IMAGES) % IMAGES]
}

/// Of every kind; some with pods, and so with controllers that write to them all the time.
fn workload(ground: &Ground, number: usize, images: &[String]) -> Value {
    let (namespace, name) = (ground.namespace(), format!("w{number}"));
    let mut workload = match number % 5 {
        0 | 1 => deployment(namespace, &name, ""),
        2 | 3 => stateful_set(namespace, &name, ""),
        _ => daemon_set(namespace, &name, ""),
    };
    let pod = &mut workload["spec"]["template"]["spec"];
    let [first, second] = images_of(number);
    pod["containers"] = json!([
        {"name": "first", "image": images[first], "imagePullPolicy": "Always"},
        {"name": "second", "image": images[second], "imagePullPolicy": "Always"},
    ]);
    if number % 5 == 4 {
        pod["nodeSelector"] = json!({"nobody": "has-this"});
    } else if !number.is_multiple_of(5) {
        workload["spec"]["replicas"] = json!(0);
    }
    workload
}

/// The last follows a watch, the others scan.
fn replica(ground: &Ground, number: usize, user: &str) -> ServiceBuilder {
    let service = ground.service().user(user).arguments(["--hold", "60s", "--namespaces", ground.namespace()]);
    if number + 1 == REPLICAS { service.arguments(["--watch"]) } else { service }
}

fn push_url(replica: &Service) -> Option<String> {
    Some(format!("{}/v1/push", replica.public))
}

/// At every so many deliveries one replica, and now and then all, in the midst of what they do.
async fn kill_again_and_again(storm: &Storm, ground: &Ground, users: &[String], replicas: &mut [Service]) {
    let mut chance = Chance::new(1);
    let mut ended = storm.ended.subscribe();
    for kill in 1.. {
        let _ = ended.wait_for(|ended| *ended >= kill * KILL_EVERY).await;
        let victims = if chance.below(6) == 0 { (0..REPLICAS).collect() } else { vec![chance.below(REPLICAS)] };
        for victim in &victims {
            storm.urls.send_modify(|urls| urls[*victim] = None);
            replicas[*victim].signal("KILL");
            storm.kills.fetch_add(1, Ordering::SeqCst);
        }
        for victim in victims {
            replicas[victim] = replica(ground, victim, &users[victim]).start().await;
            storm.urls.send_modify(|urls| urls[victim] = push_url(&replicas[victim]));
        }
    }
}

impl Storm {
    /// A wave begins: each image is pushed, and each message is delivered several times, older ones among them.
    fn publish(&self, wave: usize, images: &[String]) {
        let (mut pushes, mut queue) = (self.pushes.lock().unwrap(), self.queue.lock().unwrap());
        let mut chance = self.chance.lock().unwrap();
        for image in images {
            let message = PushMessage::now(image, u8::try_from(wave).unwrap());
            pushes.push(Sent { message, is_acknowledged: false });
        }
        let mut deliveries: Vec<usize> = (0..DELIVERIES)
            .map(|number| {
                let is_old = wave > 0 && number % 5 == 0;
                if is_old { chance.below(wave * IMAGES) } else { wave * IMAGES + number % IMAGES }
            })
            .collect();
        // Those that the old ones took the place of.
        deliveries.extend((0..IMAGES).map(|image| wave * IMAGES + image));
        chance.shuffle(&mut deliveries);
        queue.extend(deliveries);
    }

    /// Delivers what is there until there is nothing any more.
    async fn deliver_all(self: Arc<Self>) {
        loop {
            let Some(push) = self.queue.lock().unwrap().pop_front() else { return };
            let (url, body) = (self.some_url().await, self.pushes.lock().unwrap()[push].message.body());
            let answer = try_send(Method::POST, &url, &[("content-type", "application/json")], body).await;
            let is_acknowledged = match answer {
                Ok(answer) if answer.status == 200 => true,
                Ok(answer) => {
                    assert_eq!(answer.status, 503, "{}", answer.text());
                    self.nacked.fetch_add(1, Ordering::SeqCst);
                    false
                }
                Err(_) => {
                    self.cut.fetch_add(1, Ordering::SeqCst);
                    false
                }
            };
            let is_left = {
                let sent = &mut self.pushes.lock().unwrap()[push];
                sent.is_acknowledged |= is_acknowledged;
                !sent.is_acknowledged
            };
            if is_left {
                self.queue.lock().unwrap().push_back(push);
            }
            self.ended.send_modify(|ended| *ended += 1);
        }
    }

    /// One of the replicas that are there, once there are any.
    async fn some_url(&self) -> String {
        let mut urls = self.urls.subscribe();
        let alive = urls.wait_for(|urls| urls.iter().any(Option::is_some)).await.unwrap().clone();
        let alive: Vec<String> = alive.into_iter().flatten().collect();
        let chosen = self.chance.lock().unwrap().below(alive.len());
        alive[chosen].clone()
    }
}
