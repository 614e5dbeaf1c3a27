//! A watch that goes on without a part that it cannot see: it still follows the others, or no longer counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::HOUR;
use super::stage::{Permission, Stage};
use crate::support::documents::names;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::proxy::Passage;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(the_others_are_followed_while_an_unseen_part_fails_otherwise);
    suite.on_embedded(a_part_that_may_be_listed_again_but_not_watched_is_scanned);
}

const FORBIDDEN: Passage = Passage::Refuse(403, "deployments.apps is forbidden: cannot list resource");

/// What happens to the LISTs of the other namespace and to its watches, and how many met this.
#[derive(Clone)]
struct Other {
    passages: Arc<Mutex<(Passage, Passage)>>,
    met: Arc<AtomicUsize>,
}

impl Other {
    fn forbidden() -> Self {
        Self { passages: Arc::new(Mutex::new((FORBIDDEN, FORBIDDEN))), met: Arc::default() }
    }

    fn set(&self, list: Passage, watch: Passage) {
        *self.passages.lock() = (list, watch);
        self.met.store(0, Ordering::SeqCst);
    }

    async fn is_met(&self) {
        let is_met = async || (self.met.load(Ordering::SeqCst) >= 6).then_some(());
        eventually("the watch has tried again", is_met).await;
    }

    /// A service whose watch is live without the other namespace.
    async fn service(&self, stage: &Stage) -> Service {
        let (other, path) = (self.clone(), format!("/apis/apps/v1/namespaces/{}/", stage.gone));
        let service = stage.service(&Permission::there(), Duration::ZERO).faults(move |request| {
            let (list, watch) = *other.passages.lock();
            let passage = match request.uri.starts_with(&path) && request.method == http::Method::GET {
                true if request.uri.contains("watch=") => watch,
                true => list,
                false => return std::future::ready(Passage::Forward),
            };
            other.met.fetch_add(1, Ordering::SeqCst);
            std::future::ready(passage)
        });
        let service = service.configure(|config| {
            config.cache.watch = true;
            config.cache.watch_request = Duration::from_secs(1);
            // Only the watch asks for the other namespace.
            config.waiting.deferred_poll = HOUR;
        });
        let service = service.start().await;
        let is_partial = |status: &Value| {
            status["tiers"]["watch"]["live"] == true
                && (&status["index"]["tier"], &status["index"]["covers_scope"]) == (&"watch".into(), &false.into())
        };
        service.wait_for_status("the watch is live without the part", is_partial).await;
        service
    }
}

async fn the_others_are_followed_while_an_unseen_part_fails_otherwise(ground: Ground) {
    let (stage, other) = (Stage::of(ground).await, Other::forbidden());
    let service = other.service(&stage).await;
    let failure = Passage::Refuse(500, "etcd is away");
    other.set(failure, failure);
    other.is_met().await;
    let image = stage.ground.image("new");
    let new = deployment(stage.ground.namespace(), "new", &image);
    stage.ground.create(&new).await;
    let is_followed = async || (names(&service.lookup(&image).await) == ["new"]).then_some(());
    eventually("the new workload is in the index", is_followed).await;
    let status = service.status().await;
    assert_eq!((&status["tiers"]["watch"]["live"], &status["index"]["tier"]), (&true.into(), &"watch".into()));
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!((answer.status.as_u16(), stage.ground.generation(&new).await), (200, 2), "{}", answer.text());
    other.set(Passage::Forward, Passage::Forward);
    service.wait_for_status("the watch has the part again", |status| status["index"]["covers_scope"] == true).await;
}

async fn a_part_that_may_be_listed_again_but_not_watched_is_scanned(ground: Ground) {
    let (stage, other) = (Stage::of(ground).await, Other::forbidden());
    let service = other.service(&stage).await;
    other.set(Passage::Forward, FORBIDDEN);
    service.wait_for_status("the watch is not live", |status| status["tiers"]["watch"]["live"] == false).await;
    let image = stage.ground.image("new");
    let new = [stage.ground.namespace(), &stage.gone].map(|namespace| deployment(namespace, "new", &image));
    for new in &new {
        stage.ground.create(new).await;
    }
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for new in &new {
        assert_eq!(stage.ground.generation(new).await, 2, "{}", answer.text());
    }
    assert_eq!(names(&service.lookup(&image).await), ["new", "new"], "no index of the watch is in the way of the scan");
}
