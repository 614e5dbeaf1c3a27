//! `pushroll rollouts --watch`.

use super::*;

pub fn tests(suite: &mut Suite) {
    suite.on_both(watch_follows_to_the_end);
    suite.on_both(watch_ends_with_a_failure_or_with_its_time);
    suite.on_both(watch_says_that_a_workload_is_gone);
}

/// Runs `rollouts --watch` of a rollout under way, to which something `happens` after the first look. Gives the user that
/// has run it, too.
async fn watched_while(ground: Ground, happens: impl AsyncFnOnce(&Stage, &Value)) -> (Stage, String, Ran) {
    let stage = Stage::set(ground).await;
    let (web, image) = stage.create("web", json!({})).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(&image, 2).await;
    stage.in_state("web", "under_way", &[]).await;
    let user = stage.ground.fresh_user();
    let arguments = [&*image, "--watch", "--timeout", "60s", "-o", "json"];
    let (ran, ()) = tokio::join!(stage.rollouts_as(&user, &arguments), async {
        eventually("it has looked again", async || {
            let calls = stage.ground.api_calls(&user);
            calls.iter().any(|call| call.verb == "get" && call.resource == "deployments").then_some(())
        })
        .await;
        happens(&stage, &web).await;
    });
    (stage, user, ran)
}

async fn watch_follows_to_the_end(ground: Ground) {
    let (stage, user, ran) = watched_while(ground, async |stage, _| stage.kubelet.digest_lives(2, Life::Runs)).await;
    let push = ran.json()["rollouts"][0].clone();
    assert_eq!((ran.code, &push["state"], &push["runs"]), (0, &json!("complete"), &json!("pushed_image")), "{ran:?}");
    assert!(ran.stderr.contains("deployment/web: ") && ran.stderr.contains(": complete: 2 of 2 pods run"), "{ran:?}");
    assert!(!ran.stderr.contains('\u{1b}'), "nothing moves where there is no terminal: {ran:?}");
    let lists = stage.ground.api_calls(&user).into_iter().filter(|call| call.verb == "list" && call.resource != "pods");
    assert_eq!(lists.count(), 3, "the workloads are listed once");
    let ran = stage.rollouts(&["--watch"]).await;
    assert_eq!(ran.code, 0, "all have ended: {ran:?}");
}

async fn watch_ends_with_a_failure_or_with_its_time(ground: Ground) {
    let stage = Stage::set(ground).await;
    let (_, image) = stage.create("bad", json!({})).await;
    let (_, slow) = stage.create("slow", json!({})).await;
    stage.kubelet.digest_lives(3, Life::NotReady);
    stage.kubelet.refuse_pulls(&image, "ImagePullBackOff", "manifest unknown");
    stage.deliver(&image, 2).await;
    stage.push(&slow, 3).await;
    let ran = stage.rollouts(&[&image, "--watch", "--timeout", "60s"]).await;
    assert!(ran.code == 1 && ran.stdout.contains("ImagePullBackOff in pod bad-"), "{ran:?}");
    let ran = stage.rollouts(&["--watch", "--timeout", "2s", "-o", "name"]).await;
    assert!(ran.code == 1 && ran.stderr.contains("not all rollouts have ended within 2s"), "{ran:?}");
    let names = ["bad", "slow"].map(|name| format!("{}/deployment/{name}\n", stage.ground.namespace()));
    assert_eq!(ran.stdout, names.concat(), "{ran:?}");
}

async fn watch_says_that_a_workload_is_gone(ground: Ground) {
    let (_stage, _, ran) = watched_while(ground, async |stage, web| stage.ground.delete(web).await).await;
    assert_eq!((ran.code, &ran.json()["rollouts"][0]["state"]), (1, &json!("gone")), "{ran:?}");
}
