//! The cache of `deploy/argo`: kept young by the CronWorkflow, and done without where it cannot be written.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{CACHE, Roles, Stage};
use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_control_plane(argo_restarts_though_the_cache_cannot_be_written);
    suite.on_control_plane(argo_refreshes_the_cache_when_changed_or_due);
}

/// What keeps the cache from being written keeps nobody from being restarted, and is seen.
async fn argo_restarts_though_the_cache_cannot_be_written(ground: Ground) {
    let image = ground.image("web");
    let stage = Stage::set(ground.clone()).await;
    let web = deployment(&stage.shop, "web", &image);
    ground.create(&web).await;
    let mut immutable = config_map(ground.namespace(), CACHE, "cache.json", r#"{"images": {}}"#);
    immutable["immutable"] = json!(true);
    ground.create(&immutable).await;
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 3", "rebuild 1", "restart 0"], "{finished:?}");
    assert!(!finished.succeeded, "the rebuild's failure is seen");
    assert_eq!(ground.generation(&web).await, 2);
    let finished = stage.push(&ground.image("nobody")).await;
    assert_eq!(finished.ran, ["check 3", "rebuild 1", "restart 3"], "{finished:?}");
    ground.delete(&immutable).await;

    // Nor does a cache that nobody may write.
    let name = "pushroll-refresher-argo";
    let refresher = Roles::of(&ground, &stage.manifests.objects, ground.namespace(), name).await;
    let create =
        refresher.permissions().into_iter().find(|one| one.verb_and_resource() == "create configmaps").unwrap();
    refresher.take(&create).await;
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 3", "rebuild 1", "restart 0"], "{finished:?}");
    assert_eq!(ground.generation(&web).await, 3);
}

async fn argo_refreshes_the_cache_when_changed_or_due(ground: Ground) {
    let image = ground.image("web");
    let stage = Stage::set(ground.clone()).await;
    let workflow = &stage.manifests.get("CronWorkflow", "pushroll-refresh")["spec"]["workflowSpec"];
    let refresh = async || stage.controller.run(workflow).await.ran;
    ground.create(&deployment(&stage.shop, "web", &image)).await;
    assert_eq!(refresh().await, ["check 3", "rebuild 0"], "there is none yet");
    assert_eq!(refresh().await, ["check 0", "compare 0"], "unchanged");
    ground.create(&deployment(&stage.shop, "web-2", &image)).await;
    assert_eq!(refresh().await, ["check 0", "compare 0", "rebuild 0"]);
    let entries = json!([{"name": "web", "namespace": stage.shop}, {"name": "web-2", "namespace": stage.shop}]);
    assert_eq!(ground.cache_document().await.unwrap()["images"], json!({&image: entries}));
    assert_eq!(refresh().await, ["check 0", "compare 0"]);

    // Unchanged, and of ten minutes ago: at the next push it might be too old.
    stage.age_cache(Timestamp::now() - SignedDuration::from_mins(10)).await;
    assert_eq!(refresh().await, ["check 3", "rebuild 0"]);
    let finished = stage.push(&image).await;
    assert_eq!(finished.ran, ["check 0", "lookup 0", "restart 0"], "no push pays: {finished:?}");
}
