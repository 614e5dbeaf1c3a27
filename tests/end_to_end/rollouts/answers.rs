//! `GET /v1/rollouts` of each listener.

use super::*;
use crate::support::fixtures::deployment;
use crate::support::ground::ApiCall;
use crate::support::http::get;

pub fn tests(suite: &mut Suite) {
    suite.on_both(every_replica_says_the_same);
    suite.on_both(without_a_watch_the_internal_listener_says_where_to_ask);
    suite.on_embedded(a_large_answer_is_whole);
}

async fn every_replica_says_the_same(ground: Ground) {
    let stage = Stage::set(ground).await;
    let (good, image) = stage.create("good", json!({"pushroll.dev/cooldown": "1h"})).await;
    let (_, bad_image) = stage.create("bad", json!({})).await;
    stage.push(&image, 2).await;
    stage.push(&image, 3).await;
    stage.kubelet.refuse_pulls(&bad_image, "ErrImagePull", "manifest unknown");
    stage.deliver(&bad_image, 2).await;
    stage.kubelet.rolled_out(&good).await;
    stage.in_state("bad", "failed", &[]).await;
    let arguments = ["--namespaces", stage.ground.namespace(), "--deferred-poll", "100ms", "--watch"];
    let other = stage.ground.service().arguments(arguments).start_ready().await;

    let answer = eventually("from memory they say the same", async || {
        let of = async |service: &Service| get(&format!("{}/v1/rollouts", service.internal)).await;
        let [one, two] = [of(&stage.service).await, of(&other).await];
        let is_same = one.status == 200 && two.status == 200 && one.json() == two.json();
        let is_whole = is_same && push_of(&one.json(), "good", "waits").is_some();
        (is_whole && push_of(&one.json(), "good", "complete").is_some()).then(|| one.json())
    })
    .await;
    let bad = push_of(&answer, "bad", "under_way").unwrap();
    assert!(bad["runs"].is_null() && bad["pods"].is_null(), "no pods are looked at from memory: {bad}");
    for service in [&stage.service, &other] {
        let calls = service.api_calls().len();
        let of_image = get(&format!("{}/v1/rollouts?image={image}", service.internal)).await.json();
        let of_configmaps = |call: &&ApiCall| call.resource != "configmaps";
        assert_eq!(service.api_calls()[calls..].iter().filter(of_configmaps).count(), 0, "but the timer of what waits");
        assert_eq!(of_image["rollouts"].as_array().unwrap().len(), 2, "{of_image}");
        assert_eq!(of_image["image"], image, "{of_image}");
    }

    let by_command = stage.rollouts(&["-o", "json"]).await.json();
    for service in [&stage.service, &other] {
        let answer = get(&format!("{}/v1/rollouts", service.admin)).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, by_command.clone()), "{}", answer.text());
        let of_image = get(&format!("{}/v1/rollouts?image={image}", service.admin)).await.json();
        assert_eq!(push_of(&of_image, "good", "complete").unwrap()["runs"], "pushed_image", "{of_image}");
    }
    assert!(push_of(&by_command, "bad", "failed").is_some(), "{by_command}");
}

async fn without_a_watch_the_internal_listener_says_where_to_ask(ground: Ground) {
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    for query in ["", "?image=web"] {
        let problem = get(&format!("{}/v1/rollouts{query}", service.internal)).await.problem(503);
        let detail = text(&problem, "detail");
        assert!(detail.contains("--watch") && detail.contains("admin"), "{problem}");
        let answer = get(&format!("{}/v1/rollouts{query}", service.admin)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["rollouts"]), (200, &json!([])), "{}", answer.text());
    }
}

/// In pieces: more workloads than fit into one.
async fn a_large_answer_is_whole(ground: Ground) {
    let arguments = ["--namespaces", ground.namespace(), "--watch"];
    let record = |number: usize| {
        let at = "2026-11-20T09:16:42Z";
        let published = format!("2026-11-20T09:{:02}:40Z", number % 60);
        let push = json!({"published": published, "message_id": number.to_string(), "restarted_at": at});
        let image = ground.image("web");
        json!({"kubectl.kubernetes.io/restartedAt": at, "pushroll.dev/pushes": json!({image: push}).to_string()})
    };
    for number in 0..200 {
        let mut web = deployment(ground.namespace(), &format!("web-{number}"), &ground.image("web"));
        web["spec"]["template"]["metadata"]["annotations"] = record(number);
        ground.create(&web).await;
    }
    let service = ground.service().arguments(arguments).start_ready().await;
    let answer = eventually("the watch shows them", async || {
        let answer = get(&format!("{}/v1/rollouts", service.internal)).await;
        (answer.status == 200 && answer.json()["rollouts"].as_array().unwrap().len() == 200).then(|| answer.json())
    })
    .await;
    let published: Vec<_> =
        answer["rollouts"].as_array().unwrap().iter().map(|push| text(push, "published").to_owned()).collect();
    assert!(published.is_sorted_by(|a, b| a >= b), "the newest first: {published:?}");
    assert_eq!(get(&format!("{}/v1/rollouts", service.admin)).await.json()["rollouts"].as_array().unwrap().len(), 200);
}
