//! Pushes that come together, or after an outage: few restarts do for many of them.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::fixtures::{PushMessage, deployment, digest, result_of, stateful_set, without_pods};
use crate::support::ground::Ground;
use crate::support::http::{get, send};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

/// Far longer than any test: a wait for it never ends.
const NEVER: Duration = Duration::from_secs(3600);

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_burst_is_one_restart_more_than_there_are_replicas);
    suite.on_both(a_push_to_a_quiet_workload_waits_for_nothing);
    suite.on_both(pushes_of_two_images_that_come_together_share_a_restart);
    suite.on_both(a_backlog_is_one_restart);
    suite.on_both(pushes_of_two_images_from_before_a_restart_share_it);
    suite.on_both(a_restart_that_the_owner_takes_back_is_not_made_again);
    suite.on_both(a_template_that_is_put_back_with_an_older_record_is_not_restarted_again);
}

/// A service whose second restart of a workload waits for so long.
async fn gathering(ground: &Ground, gather: Duration) -> Service {
    ground.service_in_process().configure(|config| config.waiting.gather = gather).start_ready().await
}

/// Ten pushes of an image, one millisecond apart, all at once to all replicas in turn. Several images, so that there are
/// several chances.
async fn a_burst_is_one_restart_more_than_there_are_replicas(ground: Ground) {
    const IMAGES: usize = 5;
    for replicas in 1..=3 {
        let mut services = Vec::new();
        for _ in 0..replicas {
            services.push(gathering(&ground, Duration::from_secs(5)).await);
        }
        let images: Vec<String> = (0..IMAGES).map(|n| ground.image(&format!("web-{replicas}-{n}"))).collect();
        let named = |n: usize| deployment(ground.namespace(), &format!("web-{replicas}-{n}"), &images[n]);
        let workloads: Vec<Value> = (0..IMAGES).map(named).collect();
        for workload in &workloads {
            ground.create(workload).await;
        }
        let mut deliveries = JoinSet::new();
        let now = Timestamp::now();
        for number in 0..10_u8 {
            for image in &images {
                let published = now + SignedDuration::from_millis(i64::from(number));
                let message = PushMessage { published, ..PushMessage::now(image, 0xb0 + number) };
                let url = format!("{}/v1/push", services[usize::from(number) % replicas].public);
                deliveries.spawn(async move { send(http::Method::POST, &url, &[], message.body()).await.status });
            }
        }
        assert!(deliveries.join_all().await.into_iter().all(|status| status == 200));
        for workload in &workloads {
            let restarts = ground.generation(workload).await - 1;
            assert!((1..=replicas as i64 + 1).contains(&restarts), "{restarts} with {replicas} replicas");
            let object = ground.get(workload).await;
            let record = object["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"].as_str().unwrap();
            assert!(record.contains(&digest(0xb9)), "the newest is done: {record}");
        }
    }
}

async fn a_push_to_a_quiet_workload_waits_for_nothing(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = gathering(&ground, NEVER).await;
    let answer = service.push(&PushMessage::now(&image, 0xa1)).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    // A redelivery restarts nothing, so there is nothing to wait for either.
    assert_eq!(service.push(&PushMessage::now(&ground.image("other"), 0xa1)).await.json()["outcome"], "not_in_use");
}

async fn pushes_of_two_images_that_come_together_share_a_restart(ground: Ground) {
    let [web, side] = ["web", "side"].map(|name| ground.image(name));
    let mut workload = stateful_set(ground.namespace(), "web", &web);
    let container = |name: &str, image: &str| json!({"name": name, "image": image, "imagePullPolicy": "Always"});
    workload["spec"]["template"]["spec"]["containers"] = json!([container("web", &web), container("side", &side)]);
    ground.create(&workload).await;
    let (looked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_looked, may_go) = (Arc::clone(&looked), Arc::clone(&go));
    let first = crate::support::proxy::once();
    let service = ground
        .service_in_process()
        .configure(|config| config.waiting.gather = NEVER)
        .before_call(move |method, uri| {
            let is_look = method == http::Method::GET && uri.contains("/statefulsets/");
            let (is_first, has_looked, may_go) = (is_look && first(), Arc::clone(&has_looked), Arc::clone(&may_go));
            async move {
                if is_first {
                    has_looked.notify_one();
                    may_go.notified().await;
                }
            }
        })
        .start_ready()
        .await;
    let [of_web, of_side] = [&web, &side].map(|image| PushMessage::now(image, 0xa1));
    let pushes = async { tokio::join!(service.push(&of_web), service.push(&of_side)) };
    let both_wait = async {
        looked.notified().await;
        eventually("the other waits for its turn", async || {
            (service.metric("pushroll_queued_restarts").await == 1.0).then_some(())
        })
        .await;
        go.notify_one();
    };
    let ((of_web, of_side), ()) = tokio::join!(pushes, both_wait);
    let mut codes = [of_web, of_side].map(|answer| result_of(&answer.json(), &workload)["code"].clone());
    codes.sort_by_key(ToString::to_string);
    assert_eq!(codes, ["already_restarted", "runs_image"]);
    assert_eq!(ground.generation(&workload).await, 2);
}

/// A push of some minutes ago, as Pub/Sub delivers it after an outage.
fn minutes_ago(image: &str, byte: u8, minutes: i64) -> PushMessage {
    PushMessage { published: Timestamp::now() - SignedDuration::from_mins(minutes), ..PushMessage::now(image, byte) }
}

async fn a_backlog_is_one_restart(ground: Ground) {
    let image = ground.image("web");
    let web = without_pods(deployment(ground.namespace(), "web", &image));
    ground.create(&web).await;
    let services = [gathering(&ground, NEVER).await, gathering(&ground, NEVER).await];
    for service in &services {
        // A prompt delivery shows that Pub/Sub's clock agrees with ours.
        service.push(&PushMessage::now(&ground.image("other"), 0xa1)).await;
    }
    for (number, minutes) in (25..=30).rev().enumerate() {
        let message = minutes_ago(&image, 0xa1 + u8::try_from(number).unwrap(), minutes);
        for service in &services {
            let answer = service.push(&message).await.json();
            let code = result_of(&answer, &web)["code"].clone();
            let expected = match (number, service.public == services[0].public) {
                (0, true) => "runs_image",
                (0, false) => "already_restarted",
                _ => "restarted_since",
            };
            assert_eq!(code, expected, "{number}: {answer}");
        }
    }
    assert_eq!(ground.generation(&web).await, 2);
}

async fn pushes_of_two_images_from_before_a_restart_share_it(ground: Ground) {
    let [web, side] = ["web", "side"].map(|name| ground.image(name));
    let mut workload = without_pods(deployment(ground.namespace(), "web", &web));
    let container = |name: &str, image: &str| json!({"name": name, "image": image, "imagePullPolicy": "Always"});
    workload["spec"]["template"]["spec"]["containers"] = json!([container("web", &web), container("side", &side)]);
    ground.create(&workload).await;
    let service = gathering(&ground, NEVER).await;
    service.push(&PushMessage::now(&ground.image("other"), 0xa1)).await;
    let answer = service.push(&minutes_ago(&web, 0xa1, 15)).await.json();
    assert_eq!(result_of(&answer, &workload)["action"], "restarted", "{answer}");
    let answer = service.push(&minutes_ago(&side, 0xa1, 15)).await.json();
    let result = result_of(&answer, &workload);
    assert_eq!((&result["action"], &result["code"]), (&json!("current"), &json!("restarted_since")), "{answer}");
    assert_eq!(ground.generation(&workload).await, 2);
}

async fn a_restart_that_the_owner_takes_back_is_not_made_again(ground: Ground) {
    let image = ground.image("web");
    let web = owned_deployment(&ground, &image).await;
    let services = [gathering(&ground, Duration::ZERO).await, gathering(&ground, Duration::ZERO).await];
    let explained = get(&format!("{}/v1/explain?image={image}", services[0].admin)).await.json();
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    let answer = services[0].push(&first).await.json();
    for answer in [&explained, &answer] {
        let result = result_of(answer, &web);
        assert_eq!((&result["action"], &result["warnings"]), (&json!("restarted"), &json!(["controlled"])), "{result}");
        assert!(result["reason"].as_str().unwrap().contains("its owner is ConfigMap owner"), "{result}");
    }
    let nothing = json!({"kubectl.kubernetes.io/restartedAt": null, "pushroll.dev/pushes": null});
    let template_of_owner = json!({"spec": {"template": {"metadata": {"annotations": nothing}}}});
    ground.patch(&web, "operator", template_of_owner.clone()).await;
    let generation = ground.generation(&web).await;
    for service in services.iter().rev() {
        let answer = service.push(&first).await.json();
        assert_eq!(result_of(&answer, &web)["code"], "already_restarted", "{answer}");
    }
    assert_eq!(ground.generation(&web).await, generation);
    // Another push is another reason.
    assert_eq!(services[1].push(&second).await.json()["outcome"], "restarted");
    assert_eq!(ground.generation(&web).await, generation + 1);
}

/// The owner has left an earlier restart alone, and each replica has a record of that before its eyes.
async fn a_template_that_is_put_back_with_an_older_record_is_not_restarted_again(ground: Ground) {
    let image = ground.image("web");
    let web = owned_deployment(&ground, &image).await;
    let services = [gathering(&ground, Duration::ZERO).await, gathering(&ground, Duration::ZERO).await];
    let messages = [0xa1, 0xa2, 0xa3].map(|byte| PushMessage::now(&image, byte));
    let [first, between, last] = &messages;
    for (message, service) in [(first, &services[0]), (last, &services[1])] {
        let before = ground.get(&web).await["spec"]["template"]["metadata"]["annotations"].clone();
        assert_eq!(service.push(message).await.json()["outcome"], "restarted");
        if message.id == last.id {
            let template_of_owner = json!({"spec": {"template": {"metadata": {"annotations": before}}}});
            ground.patch(&web, "operator", template_of_owner).await;
        }
    }
    let generation = ground.generation(&web).await;
    for service in &services {
        for (message, code) in [(last, "already_restarted"), (between, "newer_push_done"), (first, "already_restarted")]
        {
            let answer = service.push(message).await.json();
            assert_eq!(result_of(&answer, &web)["code"], code, "{answer}");
        }
    }
    assert_eq!(ground.generation(&web).await, generation);
}

/// A Deployment that belongs to a controller.
async fn owned_deployment(ground: &Ground, image: &str) -> Value {
    let owner = json!({"metadata": {"name": "owner"}});
    let path = format!("/api/v1/namespaces/{}/configmaps", ground.namespace());
    let owner = ground.request("POST", &path, Some(owner)).await.unwrap();
    let mut web = deployment(ground.namespace(), "web", image);
    web["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": true,
    }]);
    ground.create(&web).await;
    web
}
