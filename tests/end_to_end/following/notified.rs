//! What sinks are sent of rollouts.

use std::time::Duration;

use super::troubles::impatient;
use super::*;
use crate::support::kubelet::Life;
use crate::support::sink::{Does, SECRET, Sink};

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_is_two_messages_at_most);
    suite.on_both(a_sink_that_hangs_holds_up_nothing_and_keeps_the_label);
    suite.on_both(a_rollout_that_begins_after_the_summary_is_notified_of);
    suite.on_embedded(a_failure_that_has_passed_is_no_failure_of_the_push);
}

async fn stage(ground: Ground, sinks: &[(&str, &Sink)]) -> Stage {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let sinks: Vec<_> = sinks.iter().map(|(name, sink)| format!("{name}=cloudevents:{}", sink.url)).collect();
    let arguments = ["--namespaces", ground.namespace(), "--watch"];
    let service = ground.service().arguments(arguments).environment(&[("PUSHROLL_NOTIFY", &sinks.join(","))]);
    let service = service.start_ready().await;
    Stage { ground, kubelet, service, image }
}

/// The messages that a sink has, once each.
fn messages(sink: &Sink) -> Vec<Value> {
    let mut messages: Vec<Value> = sink.received().into_iter().map(|received| received.body).collect();
    messages.dedup_by_key(|message| message["id"].clone());
    messages
}

async fn a_push_is_two_messages_at_most(ground: Ground) {
    let [all, one] = [0, 1].map(|_| Sink::start(Does::answer(200, "", "ok")));
    let stage = stage(ground, &[("all", &all), ("one", &one)]).await;
    let mut workloads = Vec::new();
    for n in 0..4 {
        let mut workload = stage.kubelet.deployment(&format!("web-{n}"), &stage.image, 1);
        if n > 0 {
            workload["metadata"]["annotations"]["pushroll.dev/notify"] = json!("all");
        }
        if n == 2 {
            workload["metadata"]["annotations"]["pushroll.dev/notify"] = json!("all, nobody");
        }
        stage.create(&workload).await;
        workloads.push(workload);
    }
    stage.kubelet.digest_lives(2, Life::CannotStart { reason: "RunContainerError".into(), message: "no".into() });
    stage.push(2).await;
    let failed = eventually("the first failure is sent", async || messages(&all).first().cloned()).await;
    assert!(failed["type"].as_str().unwrap().ends_with("failed"), "{failed}");
    assert!(failed["data"].to_string().contains("RunContainerError"), "{failed}");
    stage.kubelet.digest_lives(2, Life::Runs);
    let sent = eventually("the summary is sent", async || Some(messages(&all)).filter(|sent| sent.len() == 2)).await;
    assert_ne!(sent[0]["id"], sent[1]["id"]);
    let summary = &sent[1]["data"];
    assert_eq!(summary["push"]["digest"], digest(2), "{summary}");
    let endings: Vec<_> = summary["workloads"].as_array().unwrap().iter().map(|one| one["ending"].clone()).collect();
    assert_eq!(endings, vec![json!("complete"); 4], "{summary}");
    for workload in &workloads {
        stage.followed_to_its_end(workload).await;
    }
    let names = |message: &Value| message["data"]["workloads"].to_string();
    let to_one = messages(&one);
    assert!(to_one.iter().all(|message| !names(message).contains("web-1")), "{to_one:?}");
    assert!(names(to_one.last().unwrap()).contains("web-0"), "{to_one:?}");
    assert_eq!(messages(&all).len(), 2, "no more");
    stage.service.warned("names sinks that --notify does not have: nobody").await;
    assert!(!stage.service.log().iter().any(|line| line.to_string().contains(SECRET)));
}

async fn a_sink_that_hangs_holds_up_nothing_and_keeps_the_label(ground: Ground) {
    let (hangs, works) = (Sink::start(Does::Hangs), Sink::start(Does::answer(204, "", "")));
    let stage = stage(ground, &[("hangs", &hangs), ("works", &works)]).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    for byte in [2, 3] {
        let answer = stage.push(byte).await;
        assert_eq!(answer["outcome"], "restarted", "{answer}");
        eventually("it runs", async || {
            let events = stage.events(&web).await;
            events.iter().any(|event| event.2.contains(&digest(byte)) && event.1 == "RolloutComplete").then_some(())
        })
        .await;
    }
    eventually("the sink that works has it", async || {
        messages(&works).iter().any(|message| message["data"]["push"]["digest"] == digest(3)).then_some(())
    })
    .await;
    let labels = stage.ground.get(&web).await["metadata"]["labels"].clone();
    assert!(labels[FOLLOWING].is_string(), "another replica must know what is not delivered: {labels}");
}

/// It had to wait for its cooldown. The first summary and its id are not about it.
async fn a_rollout_that_begins_after_the_summary_is_notified_of(ground: Ground) {
    let sink = Sink::start(Does::answer(200, "", "ok"));
    let service = impatient(&ground, true, Some(&sink))
        .configure(|config| config.waiting.deferred_poll = Duration::from_millis(100));
    let stage = super::troubles::stage(&ground, service).await;
    let (web, mut waits) =
        (stage.kubelet.deployment("web", &stage.image, 1), stage.kubelet.deployment("waits", &stage.image, 1));
    waits["metadata"]["annotations"]["pushroll.dev/cooldown"] = json!("4s");
    stage.create(&web).await;
    stage.create(&waits).await;
    stage.push(2).await;
    assert_eq!(stage.push(3).await["outcome"], "restarted");
    let of_push = || {
        let messages = messages(&sink).into_iter();
        messages.filter(|message| message["data"]["push"]["digest"] == digest(3)).collect::<Vec<_>>()
    };
    for name in ["web", "waits"] {
        let names = |message: &Value| message["data"]["workloads"].to_string().contains(&format!(r#""name":"{name}""#));
        eventually("it is notified of", async || of_push().iter().any(names).then_some(())).await;
    }
    let sent = of_push();
    let ids: std::collections::BTreeSet<_> = sent.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(ids.len(), sent.len(), "each has an id of its own: {sent:?}");
}

/// A pod could not pull for a moment, and the rollout went on, slowly.
async fn a_failure_that_has_passed_is_no_failure_of_the_push(ground: Ground) {
    let sink = Sink::start(Does::answer(200, "", "ok"));
    let service =
        impatient(&ground, true, Some(&sink)).configure(|config| config.following.recovery = Duration::from_secs(20));
    let stage = super::troubles::stage(&ground, service).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.refuse_pulls(&stage.image, "ErrImagePull", "too many requests");
    let answer = stage.service.push(&PushMessage::now(&stage.image, 2)).await;
    assert_eq!(answer.json()["outcome"], "restarted");
    eventually("the failure is notified of", async || (messages(&sink).len() == 1).then_some(())).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.kubelet.push(&stage.image, 2);
    let looks = || {
        let calls = stage.service.calls_of_following().into_iter();
        calls.filter(|call| call.verb == "list" && call.resource == "pods").count()
    };
    // They are 15 s apart: more than the time to recover.
    let before = looks();
    eventually("its pods are looked at", async || (looks() >= before + 3).then_some(())).await;
    assert_eq!(messages(&sink).len(), 1, "it is under way");
    stage.kubelet.digest_lives(2, Life::Runs);
    let summary = eventually("the summary is sent", async || messages(&sink).get(1).cloned()).await;
    assert_eq!(summary["data"]["workloads"][0]["ending"], "complete", "{summary}");
}
