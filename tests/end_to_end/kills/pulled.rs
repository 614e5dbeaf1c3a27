//! Three replicas that pull from one subscription, and are killed and started again all the time. Pub/Sub delivers again
//! what they held when its leases end; each message is published several times besides. In the end every message is
//! acknowledged, and no workload was rolled more often than its images were pushed.
//!
//! `PUSHROLL_WAVES=40` is a longer run.

use serde_json::{Value, json};

use super::{IMAGES, REPLICAS, create_workloads, images_of};
use crate::support::chance::Chance;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::service::{Service, ServiceBuilder};
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::record;

/// Without `PUSHROLL_WAVES`. Each pushes every image once.
const WAVES: usize = 2;
/// Of each wave: messages that Pub/Sub has delivered already, or will.
const DUPLICATES: usize = 25;
/// In each wave: every kill takes half a minute by the server's clock, and messages of ten minutes are lost by it.
const KILLS: usize = 5;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(pushes_pulled_by_replicas_killed_at_random_roll_each_workload_once);
}

struct Storm {
    ground: Ground,
    server: PubSubServer,
    topic: String,
    subscription: String,
    users: Vec<String>,
    replicas: Vec<Service>,
    chance: Chance,
    /// Each message so far, as the server knows it.
    published: Vec<Value>,
    kills: usize,
    deliveries: u64,
    messages: usize,
}

async fn pushes_pulled_by_replicas_killed_at_random_roll_each_workload_once(ground: Ground, server: PubSubServer) {
    let waves = std::env::var("PUSHROLL_WAVES").map_or(WAVES, |text| text.parse().unwrap());
    let (images, workloads) = create_workloads(&ground).await;
    let mut storm = Storm::set(ground, server).await;
    for wave in 0..waves {
        storm.publish(&images, wave).await;
        storm.kill_again_and_again().await;
        storm.end_wave().await;
    }
    let (seed, kills, messages, deliveries) = (storm.chance.seed(), storm.kills, storm.messages, storm.deliveries);
    let what = format!("seed {seed}: {kills} kills, {messages} messages were delivered {deliveries} times");
    println!("{what}");
    assert!(deliveries > messages as u64, "{what}: what a dead replica held comes again");
    for (number, workload) in workloads.iter().enumerate() {
        let object = storm.ground.get(workload).await;
        let rolled = object["metadata"]["generation"].as_u64().unwrap() - 1;
        // Two images, each pushed once in each wave.
        assert!((waves as u64..=2 * waves as u64).contains(&rolled), "{what}: {number} {object}");
        let record = record(&object);
        for image in images_of(number) {
            let newest = &storm.published[(waves - 1) * IMAGES + image]["id"];
            assert_eq!(record[&images[image]]["message_id"], *newest, "{what}: {number} {record}");
        }
    }
}

impl Storm {
    async fn set(ground: Ground, server: PubSubServer) -> Self {
        let topic = server.topic().await;
        let subscription = server.subscription(&topic, json!({})).await;
        let users = (0..REPLICAS).map(|_| ground.fresh_user()).collect();
        let (chance, published) = (Chance::new(0), Vec::new());
        let (replicas, kills, deliveries, messages) = (Vec::new(), 0, 0, 0);
        let mut storm = Self {
            ground,
            server,
            topic,
            subscription,
            users,
            replicas,
            chance,
            published,
            kills,
            deliveries,
            messages,
        };
        for number in 0..REPLICAS {
            storm.replicas.push(storm.replica(number).start_ready().await);
        }
        storm
    }

    fn replica(&self, number: usize) -> ServiceBuilder {
        let replica = super::replica(&self.ground, number, &self.users[number]);
        // So few that each gets some.
        replica.pulls(&self.server, &self.subscription).arguments(["--pull-max-messages", "12"])
    }

    /// Each image is pushed, and older and newer messages come again.
    async fn publish(&mut self, images: &[String], wave: usize) {
        let byte = u8::try_from(wave).unwrap();
        let messages: Vec<PushMessage> = images.iter().map(|image| PushMessage::now(image, byte)).collect();
        let ids = self.server.publish_all(&self.topic, &messages).await;
        let known = self.server.messages_of(&self.subscription).await;
        let of_id = |id: &String| known.iter().find(|message| message["id"] == *id).unwrap().clone();
        self.published.extend(ids.iter().map(of_id));
        for _ in 0..DUPLICATES {
            let again = &self.published[self.chance.below(self.published.len())];
            let data = again["data"].as_str().unwrap();
            let attributes = json!({"test-message-id": again["id"], "test-publish-time": again["publishTime"]});
            self.server.publish_with(&self.topic, data, attributes).await;
        }
    }

    /// At chosen points of a wave one replica, and now and then all, in the midst of what they do.
    async fn kill_again_and_again(&mut self) {
        let mut points: Vec<usize> = (0..KILLS).map(|_| self.chance.below(IMAGES + DUPLICATES)).collect();
        points.sort_unstable();
        for point in points {
            self.until_acknowledged(point).await;
            let is_for_all = self.chance.below(6) == 0;
            let victims = if is_for_all { (0..REPLICAS).collect() } else { vec![self.chance.below(REPLICAS)] };
            for victim in &victims {
                self.replicas[*victim].signal("KILL");
                self.kills += 1;
            }
            for victim in victims {
                self.replicas[victim].ended().await;
                self.replicas[victim] = self.replica(victim).start().await;
            }
            // The leases of the dead end, and those of the living: what they hold comes to others as well.
            self.server.advance_clock(31).await;
        }
    }

    /// Waits as long as that goes on.
    async fn until_acknowledged(&self, messages: usize) {
        let acknowledged = async || {
            let all = self.server.messages_of(&self.subscription).await;
            all.iter().filter(|message| message["acks"].as_u64() > Some(0)).count()
        };
        let mut so_far = acknowledged().await;
        while so_far < messages {
            so_far =
                eventually("one more is acknowledged", async || Some(acknowledged().await).filter(|now| *now > so_far))
                    .await;
        }
    }

    async fn end_wave(&mut self) {
        self.until_acknowledged(IMAGES + DUPLICATES).await;
        let messages = self.server.messages_of(&self.subscription).await;
        self.messages += messages.len();
        self.deliveries += messages.iter().filter_map(|message| message["deliveries"].as_u64()).sum::<u64>();
        self.server.clear_messages().await;
    }
}
