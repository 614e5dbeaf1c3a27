//! Two namespaces, and the permission to see one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::fixtures::{deployment, without_pods};
use crate::support::ground::Ground;
use crate::support::in_process::InProcess;
use crate::support::proxy::{ApiRequest, Passage};
use crate::support::waiting::entries;

const REFUSAL: &str =
    "deployments.apps is forbidden: User \"u\" cannot list resource \"deployments\" in API group \"apps\"";

/// What is forbidden while it is closed.
#[derive(Clone)]
pub(super) struct Permission(Arc<AtomicBool>);

impl Permission {
    pub(super) fn missing() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    pub(super) fn there() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn set(&self, is_there: bool) {
        self.0.store(is_there, Ordering::SeqCst);
    }

    pub(super) fn passage(&self, is_concerned: bool) -> Passage {
        if is_concerned && !self.0.load(Ordering::SeqCst) { Passage::Refuse(403, REFUSAL) } else { Passage::Forward }
    }

    /// The rule for a namespace whose roles are missing.
    pub(super) fn of_namespace(
        &self,
        namespace: &str,
    ) -> impl Fn(ApiRequest) -> std::future::Ready<Passage> + Send + Sync + 'static {
        let (permission, path) = (self.clone(), format!("/apis/apps/v1/namespaces/{namespace}/"));
        move |request| std::future::ready(permission.passage(request.uri.starts_with(&path)))
    }
}

/// Two namespaces with a workload each that runs one image.
pub(super) struct Stage {
    pub(super) ground: Ground,
    pub(super) gone: String,
    pub(super) image: String,
    pub(super) here: Value,
    pub(super) there: Value,
}

impl Stage {
    pub(super) async fn of(ground: Ground) -> Self {
        let (gone, image) = (ground.another_namespace("gone").await, ground.image("web"));
        let [here, there] =
            [ground.namespace(), &gone].map(|namespace| without_pods(deployment(namespace, "web", &image)));
        for workload in [&here, &there] {
            ground.create(workload).await;
        }
        Self { ground, gone, image, here, there }
    }

    pub(super) fn namespaces(&self) -> Vec<String> {
        vec![self.ground.namespace().to_owned(), self.gone.clone()]
    }

    pub(super) fn service(&self, permission: &Permission, grace: Duration) -> InProcess {
        let namespaces = self.namespaces();
        let service = self.ground.service_in_process().faults(permission.of_namespace(&self.gone));
        service.configure(|config| {
            config.policy.namespaces = namespaces;
            config.cache.unseen_grace = grace;
            config.waiting.deferred_poll = Duration::from_millis(20);
        })
    }

    /// The pushes that wait for a part: `IMAGE for KIND in NAMESPACE`, sorted.
    pub(super) async fn kept(&self) -> Vec<String> {
        kept(&self.ground).await
    }

    pub(super) async fn generations(&self) -> (i64, i64) {
        (self.ground.generation(&self.here).await, self.ground.generation(&self.there).await)
    }

    pub(super) fn unseen(&self) -> String {
        format!("deployments, statefulsets and daemonsets in the namespace {} cannot be seen: not permitted", self.gone)
    }
}

/// The pushes that wait for a part: `IMAGE for KIND in NAMESPACE`, sorted.
pub(super) async fn kept(ground: &Ground) -> Vec<String> {
    let described = entries(ground, "unseen.").await.into_iter().map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or("*").to_owned();
        format!("{} for {} in {}", text("image"), text("kind"), text("namespace"))
    });
    let mut described: Vec<_> = described.collect();
    described.sort();
    described
}
