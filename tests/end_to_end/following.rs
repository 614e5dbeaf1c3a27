//! After the restart: each rollout is followed to its end, and what its pods run is known.

mod endings;
mod failures;
mod notified;
mod troubles;

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, digest};
use crate::support::ground::Ground;
use crate::support::kubelet::Kubelet;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const FOLLOWING: &str = "pushroll.dev/following";

pub fn tests(suite: &mut Suite) {
    endings::tests(suite);
    failures::tests(suite);
    notified::tests(suite);
    troubles::tests(suite);
}

/// A cluster whose pods the test plays, and a service.
struct Stage {
    ground: Ground,
    kubelet: Kubelet,
    service: Service,
    image: String,
}

impl Stage {
    /// With a watch, or without one and looking often.
    async fn set(ground: Ground, is_watching: bool) -> Self {
        let kubelet = ground.kubelet().await;
        let image = ground.image("web");
        kubelet.push(&image, 1);
        let service = Self::service(&ground, is_watching).await;
        Self { ground, kubelet, service, image }
    }

    async fn service(ground: &Ground, is_watching: bool) -> Service {
        let namespaces = ["--namespaces", ground.namespace(), "--deferred-poll", "100ms"];
        let service = ground.service().arguments(namespaces);
        let service = if is_watching { service.arguments(["--watch"]) } else { service };
        service.start_ready().await
    }

    /// Moves the tag, and delivers the push of it.
    async fn push(&self, byte: u8) -> Value {
        self.kubelet.push(&self.image, byte);
        let answer = self.service.push(&PushMessage::now(&self.image, byte)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The Events on a workload: type, reason and note, as a person reads them.
    async fn events(&self, workload: &Value) -> Vec<(String, String, String)> {
        let namespace = self.ground.namespace();
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let events = self.ground.request("GET", &path, None).await.unwrap();
        let mut events = events["items"].as_array().unwrap().clone();
        events.retain(|event| {
            event["reportingController"] == "pushroll" && event["regarding"]["name"] == workload["metadata"]["name"]
        });
        events.sort_by_key(|event| event["eventTime"].as_str().unwrap().to_owned());
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        events.iter().map(|event| (text(event, "type"), text(event, "reason"), text(event, "note"))).collect()
    }

    /// Waits for an Event, and gives its note.
    async fn event(&self, workload: &Value, kind: &str, reason: &str) -> String {
        let what = format!("{reason} of {}", workload["metadata"]["name"]);
        eventually(&what, async || {
            let events = self.events(workload).await;
            events.into_iter().find(|event| event.0 == kind && event.1 == reason).map(|event| event.2)
        })
        .await
    }

    /// Waits until a workload is followed no more.
    async fn followed_to_its_end(&self, workload: &Value) {
        eventually("the label is gone", async || {
            let object = self.ground.get(workload).await;
            object["metadata"]["labels"][FOLLOWING].is_null().then_some(())
        })
        .await;
    }

    async fn rollouts(&self, kind: &str, ending: &str) -> f64 {
        self.service.metric(&format!(r#"pushroll_rollouts_total{{kind="{kind}",ending="{ending}"}}"#)).await
    }

    async fn verified(&self, runs: &str) -> f64 {
        self.service.metric(&format!(r#"pushroll_pods_verified_total{{runs="{runs}"}}"#)).await
    }

    async fn create(&self, workload: &Value) {
        self.ground.create(workload).await;
        self.kubelet.rolled_out(workload).await;
    }
}
