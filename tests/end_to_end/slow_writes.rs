//! Restarts that an admission webhook holds up for longer than a push waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::watch;

use crate::support::documents::assert_restarted;
use crate::support::fixtures::{PushMessage, deployment, result_of};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(a_webhook_that_is_slower_than_a_push_lets_the_restart_through);
    suite.on_both(a_slow_write_goes_on_without_the_push_and_holds_up_no_call);
    suite.on_both(a_slow_write_under_a_watch_is_known_when_it_is_done);
    suite.on_both(beyond_the_places_a_slow_write_is_given_up);
}

const SLOW_WRITES: &str = "pushroll_kubernetes_slow_writes";

async fn slow_writes(service: &Service, count: f64) {
    eventually("so many writes are slow", async || (service.metric(SLOW_WRITES).await == count).then_some(())).await;
}

async fn a_webhook_that_is_slower_than_a_push_lets_the_restart_through(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let (release, released) = watch::channel(false);
    let reviews = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reviews);
    ground
        .admit_updates(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut released = released.clone();
            async move {
                // Controllers and the test itself are let through.
                if request["options"]["fieldManager"] == "pushroll" {
                    let _ = released.wait_for(|released| *released).await;
                }
                json!({"allowed": true})
            }
        })
        .await;
    eventually("the webhook is asked", async || {
        ground.patch(&web, "test", json!({"metadata": {"labels": {"probe": "x"}}})).await;
        ground.patch(&web, "test", json!({"metadata": {"labels": {"probe": "y"}}})).await;
        (reviews.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    let service = ground.service().arguments(["--hold", "2s"]).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let problem = service.push(&push).await.problem(503);
    assert_eq!(result_of(&problem, &web)["code"], "timed_out", "{problem}");
    assert!(result_of(&problem, &web)["reason"].to_string().contains("still at work on the write"), "{problem}");
    slow_writes(&service, 1.0).await;
    assert_eq!(ground.generation(&web).await, 1);
    release.send_replace(true);
    eventually("the restart is stored", async || (ground.generation(&web).await == 2).then_some(())).await;
    slow_writes(&service, 0.0).await;
    let again = service.push(&push).await;
    assert_eq!((again.status.as_u16(), &again.json()["outcome"]), (200, &json!("current")), "{}", again.text());
    assert_eq!(result_of(&again.json(), &web)["code"], "already_restarted");
    assert_eq!(ground.generation(&web).await, 2);
}

/// A proxy that keeps each PATCH of a workload called `slow...` until the sender says otherwise.
async fn slow_proxy(ground: &Ground) -> (ApiProxy, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let rule = move |request: ApiRequest| {
        let mut released = released.clone();
        async move {
            if request.is_patch() && request.uri.contains("/slow") {
                let _ = released.wait_for(|released| *released).await;
            }
            Passage::Forward
        }
    };
    (ApiProxy::start(ground, rule).await, release)
}

/// One call at a time: while the slow write had its permit, nothing else would be done.
async fn a_slow_write_goes_on_without_the_push_and_holds_up_no_call(ground: Ground) {
    let images = [ground.image("slow"), ground.image("web")];
    let [slow, web] =
        [("slow", &images[0]), ("web", &images[1])].map(|(name, image)| deployment(ground.namespace(), name, image));
    ground.create(&slow).await;
    ground.create(&web).await;
    let (proxy, release) = slow_proxy(&ground).await;
    let arguments = ["--hold", "3s", "--concurrency", "1"];
    let service = ground.service().through(&proxy).arguments(arguments).start_ready().await;
    let push = PushMessage::now(&images[0], 0xaa);
    let problem = service.push(&push).await.problem(503);
    assert_eq!(result_of(&problem, &slow)["action"], "failed", "{problem}");
    slow_writes(&service, 1.0).await;
    let in_flight = "pushroll_kubernetes_calls_in_flight";
    eventually("no call is made", async || (service.metric(in_flight).await == 0.0).then_some(())).await;
    assert_restarted(&service.push(&PushMessage::now(&images[1], 0xbb)).await);
    assert_eq!((ground.generation(&slow).await, ground.generation(&web).await), (1, 2));
    release.send_replace(true);
    eventually("the restart is stored", async || (ground.generation(&slow).await == 2).then_some(())).await;
    slow_writes(&service, 0.0).await;
    assert_eq!(service.push(&push).await.json()["outcome"], "current");
    assert_eq!(ground.generation(&slow).await, 2);
}

async fn a_slow_write_under_a_watch_is_known_when_it_is_done(ground: Ground) {
    let image = ground.image("web");
    let slow = deployment(ground.namespace(), "slow", &image);
    ground.create(&slow).await;
    let (proxy, release) = slow_proxy(&ground).await;
    let arguments = ["--hold", "2s", "--watch", "--namespaces", ground.namespace()];
    let service = ground.service().through(&proxy).arguments(arguments).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let live = async || (service.metric("pushroll_watch_live").await == 1.0).then_some(());
    eventually("the watch is live", live).await;
    service.push(&push).await.problem(503);
    slow_writes(&service, 1.0).await;
    release.send_replace(true);
    slow_writes(&service, 0.0).await;
    let again = service.push(&push).await;
    assert_eq!((again.status.as_u16(), &again.json()["outcome"]), (200, &json!("current")), "{}", again.text());
    assert_eq!(ground.generation(&slow).await, 2);
}

async fn beyond_the_places_a_slow_write_is_given_up(ground: Ground) {
    let image = ground.image("web");
    let slow = ["slow-1", "slow-2"].map(|name| deployment(ground.namespace(), name, &image));
    for workload in &slow {
        ground.create(workload).await;
    }
    let (proxy, release) = slow_proxy(&ground).await;
    // Half of the permits, which is one place.
    let arguments = ["--hold", "60s", "--concurrency", "2"];
    let service = ground.service().through(&proxy).arguments(arguments).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let given_up = async {
        let given_up = r#"pushroll_kubernetes_requests_total{verb="patch",resource="deployments",code="0"}"#;
        eventually("one is given up", async || (service.metric(given_up).await == 1.0).then_some(())).await;
        assert_eq!(service.metric(SLOW_WRITES).await, 1.0);
        release.send_replace(true);
    };
    let (answer, ()) = tokio::join!(service.push(&push), given_up);
    let problem = answer.problem(503);
    let mut codes = slow.each_ref().map(|workload| result_of(&problem, workload)["code"].as_str().unwrap().to_owned());
    codes.sort_unstable();
    assert!(codes[0] == "runs_image" && codes[1] == "unreachable", "{problem}");
    assert_eq!(service.push(&push).await.status, 200);
    for workload in &slow {
        assert_eq!(ground.generation(workload).await, 2);
    }
}
