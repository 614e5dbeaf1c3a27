//! Pushes that are pulled from a subscription: the second entrance, with the promise of the first.

mod backlog;
mod credentials;
mod duplicates;
mod entrance;
mod held;
mod outages;
mod poison;
mod readable;
mod restart_from;

use serde_json::{Value, json};

use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::service::{Service, ServiceBuilder};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    backlog::tests(suite);
    credentials::tests(suite);
    duplicates::tests(suite);
    entrance::tests(suite);
    held::tests(suite);
    outages::tests(suite);
    poison::tests(suite);
    readable::tests(suite);
    restart_from::tests(suite);
}

/// A service that pulls from this subscription alone, without a public listener.
fn pulling(ground: &Ground, server: &PubSubServer, subscription: &str) -> ServiceBuilder {
    ground.service().pulls(server, subscription).arguments(["--namespaces", ground.namespace()])
}

/// A workload, and a subscription from which pushes of its image are pulled.
struct Stage {
    image: String,
    web: Value,
    topic: String,
    subscription: String,
}

impl Stage {
    async fn set(ground: &Ground, server: &PubSubServer) -> Self {
        let image = ground.image("web");
        let web = deployment(ground.namespace(), "web", &image);
        ground.create(&web).await;
        let topic = server.topic().await;
        let subscription = server.subscription(&topic, json!({})).await;
        Self { image, web, topic, subscription }
    }
}

impl PubSubServer {
    /// Waits until the message is acknowledged.
    async fn acknowledged(&self, subscription: &str, id: &str) -> Value {
        eventually("the message is acknowledged", async || {
            let messages = self.messages_of(subscription).await.into_iter();
            messages.into_iter().find(|message| message["id"] == id && message["acks"].as_u64() > Some(0))
        })
        .await
    }

    /// What is known of a message.
    async fn message(&self, subscription: &str, id: &str) -> Value {
        let messages = self.messages_of(subscription).await;
        messages.into_iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("no message {id}"))
    }
}

impl Service {
    /// Waits for an answer to this message, the newest of its answers.
    async fn answered(&self, id: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let answer = |status: &Value| {
            let recent = status["recent"].as_array().unwrap().iter();
            recent.clone().find(|answer| answer["message_id"] == id && is_it(answer)).cloned()
        };
        eventually("the message is answered", async || answer(&self.status().await)).await
    }

    /// The status of its only subscription.
    async fn subscription(&self) -> Value {
        self.status().await["subscriptions"][0].clone()
    }

    /// Waits until its only subscription is like this.
    async fn subscription_becomes(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || Some(self.subscription().await).filter(&is_it)).await
    }
}
