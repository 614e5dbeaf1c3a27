//! The service under the service account of the base, and the workloads that it is tried with.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::manifests::{CACHE, NAMESPACE, WAITING};
use crate::support::control_plane::SERVICE_ACCOUNT;
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::service::Service;
use crate::support::wait::eventually;

/// The workloads that the service account is tried with.
pub(super) struct Stage {
    pub(super) ground: Ground,
    pub(super) image: String,
    workloads: [Value; 3],
    pub(super) frozen_image: String,
    frozen: Value,
}

impl Stage {
    pub(super) async fn set(ground: Ground) -> Self {
        let (image, frozen_image) = (ground.image("web"), ground.image("frozen"));
        let namespace = ground.namespace().to_owned();
        let workloads = [
            deployment(&namespace, "web", &image),
            stateful_set(&namespace, "web", &image),
            daemon_set(&namespace, "web", &image),
        ];
        let frozen = deployment(&ground.another_namespace("frozen").await, "frozen", &frozen_image);
        for workload in workloads.iter().chain([&frozen]) {
            ground.create(workload).await;
        }
        ground.deny_updates(&frozen, &format!("{namespace}-frozen"), "frozen").await;
        Self { ground, image, workloads, frozen_image, frozen }
    }

    /// The service in the base's namespace, as its service account.
    pub(super) async fn start(&self) -> Service {
        self.ground.service().arguments(["--namespace", NAMESPACE]).user(SERVICE_ACCOUNT).start().await
    }

    /// It looks often for what waits.
    pub(super) async fn start_looking(&self) -> Service {
        let arguments = ["--namespace", NAMESPACE, "--deferred-poll", "100ms"];
        self.ground.service().arguments(arguments).user(SERVICE_ACCOUNT).start_ready().await
    }

    /// As the base has it, with its watch.
    pub(super) async fn start_watching(&self) -> Service {
        let watching = self.ground.service().arguments(["--namespace", NAMESPACE, "--watch"]).user(SERVICE_ACCOUNT);
        let service = watching.start_ready().await;
        service.wait_for_status("the watch has begun", |status| !status["tiers"]["watch"]["live"].is_null()).await;
        service
    }

    /// A workload with an image of its own, which the cache does not have.
    async fn create_another(&self) -> String {
        let name = format!("new-{}", PushMessage::now(&self.image, 0).id);
        self.ground.create(&deployment(self.ground.namespace(), &name, &self.ground.image(&name))).await;
        name
    }

    /// Waits until a watching service has written a change to the cache, by itself.
    pub(super) async fn assert_cache_follows(&self) {
        let name = self.create_another().await;
        eventually("the cache follows", async || {
            let document = self.ground.cache_document_at(&self.cache_path()).await?;
            document.to_string().contains(&name).then_some(())
        })
        .await;
    }

    pub(super) async fn delete_lease(&self) {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{CACHE}");
        let _ = self.ground.request("DELETE", &path, None).await;
    }

    pub(super) async fn start_ready(&self) -> Service {
        let service = self.start().await;
        service.wait_until_ready().await;
        service
    }

    fn cache_path(&self) -> String {
        format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{CACHE}")
    }

    async fn has_cache(&self) -> bool {
        self.ground.request("GET", &self.cache_path(), None).await.is_ok()
    }

    pub(super) async fn delete_cache(&self) {
        let _ = self.ground.request("DELETE", &self.cache_path(), None).await;
    }

    /// Rebuilds after a change that the cache does not have.
    pub(super) async fn rebuild(&self, service: &Service) -> (u16, Value) {
        self.create_another().await;
        let answer = send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
        (answer.status.as_u16(), answer.json())
    }

    /// All that the service does, from an empty cluster on.
    pub(super) async fn play_everything(&self) {
        self.delete_cache().await;
        let service = self.start_ready().await;
        eventually("the scan is written", async || self.has_cache().await.then_some(())).await;
        let before = self.generations().await;
        let answer = service.push(&new_push(&self.image)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["outcome"]),
            (200, &json!("restarted")),
            "{}",
            answer.text()
        );
        let after: Vec<i64> = before.iter().map(|generation| generation + 1).collect();
        assert_eq!(self.generations().await, after, "each kind, in another namespace than its own");
        let answer = self.push_twice(&service).await;
        assert!(!answer.to_string().contains("pods_not_seen"), "{answer}");
        let (status, rebuilt) = self.rebuild(&service).await;
        assert_eq!((status, &rebuilt["result"]), (200, &json!("changed")), "{rebuilt}");
        for _ in 0..2 {
            let answer = service.push(&new_push(&self.frozen_image)).await;
            assert_eq!(answer.json()["workloads"][0]["code"], "denied", "{}", answer.text());
            self.event().await;
        }
        eventually("the Event is counted", async || (self.event().await["series"]["count"] == 2).then_some(())).await;
        self.delete_events().await;
        drop(service);

        // What waits is tried again, in turn with other replicas.
        let looking = self.start_looking().await;
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{WAITING}");
        let renewed = async || Some(self.ground.request("GET", &lease, None).await.ok()?["spec"]["renewTime"].clone());
        let first = eventually("it holds the Lease", renewed).await;
        eventually("it renews the Lease", async || (renewed().await? != first).then_some(())).await;
        drop(looking);

        self.delete_lease().await;
        let watching = self.start_watching().await;
        watching.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
        // Its turn, and the turn again.
        self.assert_cache_follows().await;
        self.assert_cache_follows().await;
    }

    /// Pushes the same digest a second time when the first has rolled out: the pods are worth a look. Gives the second
    /// answer.
    pub(super) async fn push_twice(&self, service: &Service) -> Value {
        let first = new_push(&self.image);
        assert_eq!(service.push(&first).await.json()["outcome"], "restarted");
        for workload in &self.workloads {
            self.ground.rolled_out(workload).await;
        }
        service.push(&PushMessage { digest: first.digest, ..new_push(&self.image) }).await.json()
    }

    pub(super) async fn generations(&self) -> Vec<i64> {
        let mut generations = Vec::new();
        for workload in &self.workloads {
            generations.push(self.ground.generation(workload).await);
        }
        generations
    }

    fn events_path(&self) -> String {
        let namespace = self.frozen["metadata"]["namespace"].as_str().unwrap();
        format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    }

    /// The Event beside the workload that may not be changed.
    pub(super) async fn event(&self) -> Value {
        eventually("there is an Event", async || {
            let events = self.ground.request("GET", &self.events_path(), None).await.unwrap();
            let mut events = events["items"].as_array().unwrap().clone().into_iter();
            events.find(|event| event["reason"] == "RestartDenied")
        })
        .await
    }

    pub(super) async fn delete_events(&self) {
        self.ground.request("DELETE", &self.events_path(), None).await.unwrap();
    }

    /// Everything that the service account asked for.
    pub(super) fn used(&self) -> BTreeSet<String> {
        used(&self.ground, SERVICE_ACCOUNT)
    }
}

/// `verb resource.group` of everything that a user asked for, but for what it may itself.
pub(super) fn used(ground: &Ground, user: &str) -> BTreeSet<String> {
    let group = |uri: &str| uri.strip_prefix("/apis/").and_then(|rest| rest.split('/').next().map(str::to_owned));
    let calls = ground.api_calls(user).into_iter();
    let calls = calls.filter(|call| !call.resource.starts_with("self") && !call.resource.is_empty());
    let asked = calls.map(|call| format!("{} {}.{}", call.verb, call.resource, group(&call.uri).unwrap_or_default()));
    asked.map(|asked| asked.trim_end_matches('.').to_owned()).collect()
}

/// Of a digest that was never pushed before.
pub(super) fn new_push(image: &str) -> PushMessage {
    let message = PushMessage::now(image, 0);
    PushMessage { digest: format!("sha256:{:0>64}", message.id), ..message }
}
