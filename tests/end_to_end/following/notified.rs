//! What sinks are sent of rollouts.

use super::*;
use crate::support::kubelet::Life;
use crate::support::sink::{Does, SECRET, Sink};

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_is_two_messages_at_most);
    suite.on_both(a_sink_that_hangs_holds_up_nothing_and_keeps_the_label);
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
    stage.service.warned("names no notification: nobody").await;
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
