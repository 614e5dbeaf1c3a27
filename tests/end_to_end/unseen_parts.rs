//! A part of the scope that is forbidden (a namespace that is gone and its RoleBinding with it, the permission of one kind)
//! holds up the others for a while, and then only itself.

mod by_hand;
mod document;
mod scopes;
mod stage;
mod watched;

use std::time::Duration;

use serde_json::{Value, json};

use crate::openapi::document::Document;
use crate::support::documents::{document, names};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use stage::{Permission, Stage, kept};

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_forbidden_namespace_makes_pushes_wait_for_the_grace);
    suite.on_both(after_the_grace_the_others_are_served_and_the_push_is_kept);
    suite.on_both(the_same_under_a_watch);
    suite.on_both(a_namespace_that_goes_under_a_watch_does_not_end_it);
    suite.on_both(an_index_that_is_proven_without_a_scan_notices_it_too);
    suite.on_both(a_kind_that_is_forbidden_does_not_hold_up_the_others);
    suite.on_both(what_cannot_be_kept_comes_again);
    suite.on_embedded(where_nothing_can_be_seen_no_push_is_answered);
    suite.on_embedded(any_other_failure_of_a_part_fails_the_scan);
    suite.on_embedded(a_stale_answer_names_what_it_has_not_seen);
    by_hand::tests(suite);
    document::tests(suite);
    scopes::tests(suite);
    watched::tests(suite);
}

const HOUR: Duration = Duration::from_secs(3600);

async fn ready(service: &Service) -> String {
    service.wait_until_ready().await;
    get(&format!("{}/readyz?verbose", service.internal)).await.text()
}

async fn a_forbidden_namespace_makes_pushes_wait_for_the_grace(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let service = stage.service(&permission, HOUR).start().await;
    assert!(ready(&service).await.contains(&format!("[+]index ok: {}", stage.unseen())));
    let status = service.status().await;
    assert_eq!((&status["ready"], &status["index"]["covers_scope"]), (&json!(true), &json!(false)), "{status}");
    let unseen = status["unseen_parts"].as_array().unwrap();
    assert_eq!((unseen.len(), &unseen[0]["namespace"]), (3, &json!(stage.gone)), "{status}");
    assert!(unseen[0]["reason"].as_str().unwrap().contains("cannot list resource"), "{status}");
    assert_eq!(service.metric("pushroll_unseen_parts").await, 3.0);

    let message = PushMessage::now(&stage.image, 1);
    let unknown = PushMessage::now(&stage.ground.image("unknown"), 1);
    for (message, generations) in [(&message, (2, 1)), (&unknown, (2, 1))] {
        let answer = service.push(message).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(&stage.unseen()) && detail.contains("--unseen-grace"), "{detail}");
        assert_eq!(stage.generations().await, generations, "what can be seen is done");
    }
    permission.set(true);
    let answer = service.push(&message).await;
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (2, 2)), "{}", answer.text());
    assert!(service.status().await.get("unseen_parts").is_none());
    assert_eq!(service.metric("pushroll_unseen_parts").await, 0.0);
    assert_eq!(stage.kept().await, [""; 0]);
}

async fn after_the_grace_the_others_are_served_and_the_push_is_kept(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let service = stage.service(&permission, Duration::ZERO).start().await;
    ready(&service).await;
    serves_the_others_and_catches_up(&stage, &service, &permission).await;
}

async fn the_same_under_a_watch(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let service = stage.service(&permission, Duration::ZERO).configure(|config| config.cache.watch = true);
    let service = service.start().await;
    ready(&service).await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    serves_the_others_and_catches_up(&stage, &service, &permission).await;
    let is_whole = |status: &Value| status["index"]["covers_scope"] == true && status["index"]["tier"] == "watch";
    service.wait_for_status("the watch has the part again", is_whole).await;
}

async fn serves_the_others_and_catches_up(stage: &Stage, service: &Service, permission: &Permission) {
    let answer = service.push(&PushMessage::now(&stage.image, 1)).await;
    let text = answer.text();
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (2, 1)), "{text}");
    let answer = answer.json();
    assert_eq!(
        (&answer["outcome"], &answer["source"]["authoritative"]),
        (&json!("restarted"), &json!(false)),
        "{text}"
    );
    assert_eq!(answer["source"]["unseen_parts"].as_array().unwrap().len(), 3, "{text}");
    assert!(answer["warnings"][0].as_str().unwrap().contains(&stage.unseen()), "{text}");
    let looked_up = service.lookup(&stage.image).await;
    assert_eq!(looked_up["source"]["authoritative"], false, "{looked_up}");
    let status = service.status().await;
    for (schema, answer) in [("Answer", &answer), ("LookupAnswer", &looked_up), ("Status", &status)] {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        Document::read().assert_valid(&schema, answer, "unseen_parts");
    }
    let kept = stage.kept().await;
    assert_eq!(kept.iter().filter(|kept| kept.contains(&stage.image)).count(), 3, "{kept:?}");
    // Nobody who can be seen runs it, and somebody may.
    let other = deployment(&stage.gone, "other", &stage.ground.image("other"));
    stage.ground.create(&other).await;
    let answer = service.push(&PushMessage::now(&stage.ground.image("other"), 1)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("not_in_use")), "{}", answer.text());
    let explained = get(&format!("{}/v1/explain?image={}", service.admin, stage.image)).await.json();
    assert_eq!(explained["source"]["unseen_parts"].as_array().unwrap().len(), 3, "{explained}");

    permission.set(true);
    let done = async || (stage.kept().await.is_empty()).then_some(());
    eventually("the pushes that were kept are done", done).await;
    assert_eq!((stage.generations().await, stage.ground.generation(&other).await), ((2, 2), 2));
    let answer = service.push(&PushMessage::now(&stage.image, 2)).await;
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (3, 3)), "{}", answer.text());
    assert!(answer.json()["source"].get("unseen_parts").is_none(), "{}", answer.text());
}

async fn a_namespace_that_goes_under_a_watch_does_not_end_it(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::there());
    let service = stage.service(&permission, Duration::ZERO).configure(|config| {
        config.cache.watch = true;
        config.cache.watch_request = Duration::from_secs(1);
    });
    let service = service.start().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    permission.set(false);
    let is_partial = |status: &Value| {
        let watch = &status["tiers"]["watch"];
        let is_live = watch["live"] == true && watch.get("error").is_none();
        is_live && status["index"]["covers_scope"] == false && status["unseen_parts"].as_array().unwrap().len() == 3
    };
    service.wait_for_status("the watch goes on without the part", is_partial).await;
    assert_eq!(names(&service.lookup(&stage.image).await), ["web", "web"], "the entries of the part are kept");
    let answer = service.push(&PushMessage::now(&stage.image, 1)).await;
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (2, 1)), "{}", answer.text());
    let left = result_of(&answer.json(), &stage.there);
    assert_eq!((&left["action"], &left["code"]), (&json!("deferred"), &json!("unseen")), "{left}");
    permission.set(true);
    eventually("the push that was kept is done", async || (stage.generations().await == (2, 2)).then_some(())).await;
}

/// The document was whole when the push came first.
async fn an_index_that_is_proven_without_a_scan_notices_it_too(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::there());
    let service = stage.service(&permission, Duration::ZERO).start().await;
    ready(&service).await;
    // A prompt message shows that the clocks agree.
    let push = PushMessage::now(&stage.image, 1);
    assert_eq!(service.push(&PushMessage::now(&stage.ground.image("unknown"), 1)).await.status, 200);
    permission.set(false);
    let ago = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10);
    let answer = service.push(&PushMessage { published: ago, ..push }).await;
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (2, 1)), "{}", answer.text());
    assert_eq!(result_of(&answer.json(), &stage.there)["code"], "unseen", "{}", answer.text());
    assert_eq!(stage.kept().await.len(), 1, "{:?}", stage.kept().await);
    permission.set(true);
    eventually("the push that was kept is done", async || (stage.generations().await == (2, 2)).then_some(())).await;
}

async fn a_kind_that_is_forbidden_does_not_hold_up_the_others(ground: Ground) {
    let image = ground.image("web");
    let (web, agent) = (deployment(ground.namespace(), "web", &image), daemon_set(ground.namespace(), "agent", &image));
    for workload in [&web, &agent] {
        ground.create(workload).await;
    }
    for (number, all) in [true, false].into_iter().enumerate() {
        let permission = Permission::missing();
        let rule = permission.clone();
        let service = ground
            .service_in_process()
            .faults(move |request| std::future::ready(rule.passage(request.uri.contains("/daemonsets"))));
        let namespaces = vec![ground.namespace().to_owned()];
        let service = service.configure(|config| {
            config.policy.namespaces = if all { Vec::new() } else { namespaces };
            config.cache.unseen_grace = Duration::ZERO;
            config.waiting.deferred_poll = Duration::from_millis(20);
        });
        let service = service.start().await;
        ready(&service).await;
        let answer = service.push(&PushMessage::now(&image, 2 * number as u8 + 1)).await;
        let generations = (ground.generation(&web).await, ground.generation(&agent).await);
        let before = number as i64;
        assert_eq!((answer.status.as_u16(), generations), (200, (before + 2, before + 1)), "{}", answer.text());
        let unseen = answer.json()["source"]["unseen_parts"].clone();
        let part = (&unseen[0]["kind"], unseen[0].get("namespace").is_none(), unseen.as_array().unwrap().len());
        assert_eq!(part, (&json!("DaemonSet"), all, 1), "{unseen}");
        permission.set(true);
        let done = async || (ground.generation(&agent).await == before + 2).then_some(());
        eventually("the push that was kept is done", done).await;
        eventually("and is kept no more", async || kept(&ground).await.is_empty().then_some(())).await;
    }
}

async fn what_cannot_be_kept_comes_again(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let (of_namespace, may_write) = (permission.of_namespace(&stage.gone), permission.clone());
    let proxy = ApiProxy::start(&stage.ground, move |request| {
        let is_write = request.method != http::Method::GET && request.uri.contains("/configmaps");
        let passage = may_write.passage(is_write);
        let of_namespace = of_namespace(request);
        async move { if passage == Passage::Forward { of_namespace.await } else { passage } }
    })
    .await;
    let namespaces = stage.namespaces().join(",");
    let arguments = ["--namespaces", &namespaces, "--unseen-grace", "0s", "--deferred-poll", "100ms"];
    let service = stage.ground.service().arguments(arguments).through(&proxy).start_ready().await;
    let push = PushMessage::now(&stage.image, 1);
    for _ in 0..3 {
        let answer = service.push(&push).await;
        let detail = answer.json()["detail"].to_string();
        assert!(
            answer.status == 503 && detail.contains(&stage.unseen()) && detail.contains("cannot be kept"),
            "{detail}"
        );
        assert_eq!(stage.generations().await, (2, 1));
    }
    let said = service.warned("cannot be seen: not permitted").await;
    assert_eq!(said, 1, "once for the change: {:?}", service.log());
    permission.set(true);
    let answer = service.push(&push).await;
    assert_eq!(answer.status, 200, "it can be kept now: {}", answer.text());
    eventually("it is done there as well", async || (stage.generations().await == (2, 2)).then_some(())).await;
}

async fn where_nothing_can_be_seen_no_push_is_answered(ground: Ground) {
    let stage = Stage::of(ground).await;
    let permission = Permission::there();
    let rule = permission.clone();
    let service = stage
        .service(&permission, Duration::ZERO)
        .faults(move |request| std::future::ready(rule.passage(request.uri.starts_with("/apis/apps/v1/"))));
    let service = service.start().await;
    ready(&service).await;
    permission.set(false);
    for image in [&stage.image, &stage.ground.image("unknown")] {
        let answer = service.push(&PushMessage::now(image, 1)).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            answer.json()["detail"].to_string().contains("the scan failed at the deployments"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(stage.kept().await, [""; 0]);
    assert_eq!(service.metric("pushroll_unseen_parts").await, 6.0);
}

async fn any_other_failure_of_a_part_fails_the_scan(ground: Ground) {
    let stage = Stage::of(ground).await;
    let path = format!("/apis/apps/v1/namespaces/{}/daemonsets", stage.gone);
    let service = stage.service(&Permission::there(), Duration::ZERO).faults(move |request| {
        let refuse = Passage::Refuse(500, "etcd is away");
        std::future::ready(if request.uri.starts_with(&path) { refuse } else { Passage::Forward })
    });
    let mut volume = stage.ground.volume();
    volume.show(&document(&[(&stage.image, &[&stage.here])]));
    let service = service.mount(volume.directory()).start().await;
    ready(&service).await;
    let answer = service.push(&PushMessage::now(&stage.image, 1)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.json()["detail"].to_string().contains("etcd is away"), "{}", answer.text());
    assert!(service.status().await.get("unseen_parts").is_none() && stage.kept().await.is_empty());
}

async fn a_stale_answer_names_what_it_has_not_seen(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let service = stage.service(&permission, HOUR).configure(|config| config.delivery.allow_stale = true);
    let service = service.start().await;
    ready(&service).await;
    let answer = service.push(&PushMessage::now(&stage.image, 1)).await;
    assert_eq!((answer.status.as_u16(), stage.generations().await), (200, (2, 1)), "{}", answer.text());
    assert_eq!(answer.json()["source"]["unseen_parts"].as_array().unwrap().len(), 3, "{}", answer.text());
    assert_eq!(stage.kept().await.len(), 3);
}
