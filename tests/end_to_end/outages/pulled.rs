//! The API server is away while hundreds of messages are pulled by two replicas, one with a watch and one without. Each
//! message is kept until it is done: no delivery attempt is used up, and no push is done twice.

use embedded_kubernetes::Outage;
use serde_json::{Value, json};

use super::killed::{create_workloads, each_push_is_done, knows};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(pushes_pulled_in_an_outage_are_done_once_after_it);
    suite.alone_on_control_plane(pushes_pulled_while_the_api_server_is_killed_are_done_once_after_it);
}

/// Each with ten images of its own.
const WORKLOADS: usize = 30;

struct Scene {
    server: PubSubServer,
    topic: String,
    subscription: String,
    workloads: Vec<Value>,
    images: Vec<String>,
    replicas: Vec<Service>,
}

async fn pushes_pulled_in_an_outage_are_done_once_after_it(ground: Ground, server: PubSubServer) {
    let scene = Scene::set(&ground, server).await;
    let messages = scene.publish().await;
    scene.until_acknowledged(20).await;
    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    scene.until_failed(100).await;
    ground.embedded_kubernetes().set_outage(None);
    scene.all_acknowledged_at_the_first_delivery().await;
    each_push_is_done(&ground, &scene.workloads, &messages).await;
}

async fn pushes_pulled_while_the_api_server_is_killed_are_done_once_after_it(ground: Ground) {
    let scene = Scene::set(&ground, PubSubServer::start().await).await;
    let messages = scene.publish().await;
    scene.until_acknowledged(20).await;
    let killed = ground.real().kill_api_server();
    scene.until_failed(100).await;
    tokio::task::block_in_place(|| drop(killed));
    scene.all_acknowledged_at_the_first_delivery().await;
    each_push_is_done(&ground, &scene.workloads, &messages).await;
}

impl Scene {
    async fn set(ground: &Ground, server: PubSubServer) -> Self {
        let (workloads, images) = create_workloads(ground, WORKLOADS).await;
        let topic = server.topic().await;
        let subscription = server.subscription(&topic, json!({})).await;
        let service = || {
            let ours = ["--namespaces", ground.namespace(), "--hold", "4s", "--rebuild-interval", "1s"];
            ground.service().pulls(&server, &subscription).arguments(ours).arguments(["--pull-max-messages", "200"])
        };
        let replicas = vec![service().arguments(["--watch"]).start_ready().await, service().start_ready().await];
        for replica in &replicas {
            replica.wait_for_status("the index knows all", |status| knows(status, WORKLOADS)).await;
        }
        Self { server, topic, subscription, workloads, images, replicas }
    }

    /// One push of each image, as the server delivers it.
    async fn publish(&self) -> Vec<PushMessage> {
        let messages: Vec<PushMessage> = self.images.iter().map(|image| PushMessage::now(image, 1)).collect();
        let ids = self.server.publish_all(&self.topic, &messages).await;
        let known = self.server.messages_of(&self.subscription).await;
        let published = |id: &String| known.iter().find(|message| message["id"] == *id).unwrap()["publishTime"].clone();
        let as_delivered = |(message, id): (PushMessage, String)| {
            let published = serde_json::from_value(published(&id)).unwrap();
            PushMessage { id, published, ..message }
        };
        messages.into_iter().zip(ids).map(as_delivered).collect()
    }

    async fn acknowledged(&self) -> usize {
        let messages = self.server.messages_of(&self.subscription).await;
        messages.iter().filter(|message| message["acks"].as_u64() > Some(0)).count()
    }

    async fn until_acknowledged(&self, messages: usize) {
        eventually("so many are done", async || (self.acknowledged().await >= messages).then_some(())).await;
    }

    /// Waits for so many attempts more that have failed.
    async fn until_failed(&self, attempts: usize) {
        let failed = || {
            let lines = self.replicas.iter().flat_map(Service::log);
            lines.filter(|line| line["message"] == "push" && line["outcome"] == "failed").count()
        };
        let before = failed();
        eventually("so many attempts fail", async || (failed() >= before + attempts).then_some(())).await;
        assert!(self.acknowledged().await < self.images.len(), "it was away while there was something to do");
    }

    /// Waits as long as that goes on.
    async fn all_acknowledged_at_the_first_delivery(&self) {
        let mut so_far = self.acknowledged().await;
        while so_far < self.images.len() {
            so_far =
                eventually("one more is done", async || Some(self.acknowledged().await).filter(|now| *now > so_far))
                    .await;
        }
        for message in self.server.messages_of(&self.subscription).await {
            let fate = (&message["deliveries"], &message["acks"], &message["given_back"]);
            assert_eq!(fate, (&json!(1), &json!(1), &json!(0)), "{message}");
        }
    }
}
