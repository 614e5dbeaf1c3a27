//! Pushes to a service with a sink that never answers, against pushes to one without a sink, in turns: the time until the
//! 200, for one workload each.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::statistics::quantile;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::{Ground, object_path};
use crate::support::service::Service;
use crate::support::sink::{Does, Sink};
use crate::support::wait::eventually;

/// Each is pushed once: a second restart right after the first would wait for more pushes.
const PUSHES: usize = 300;
/// More than the slower of two equal services is slower, on a machine with other work.
const TARGET: f64 = 1.2;

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(pushes());
}

async fn pushes() {
    let ground = Ground::embedded().await;
    let sink = Sink::start(Does::Hangs);
    let mut sides = Vec::new();
    for (name, notify) in [("without", None), ("stuck", Some(format!("stuck=cloudevents:{}", sink.url)))] {
        let namespace = ground.another_namespace(name).await;
        let mut workloads = Vec::new();
        for number in 0..=PUSHES {
            let image = ground.image(&format!("{name}-{number}"));
            let workload = deployment(&namespace, &format!("web-{number}"), &image);
            ground.create(&workload).await;
            workloads.push((image, workload));
        }
        let arguments = ["--watch", "--namespaces", &namespace, "--waiting-configmap", name];
        let notify: Vec<_> = notify.iter().map(|notify| ("PUSHROLL_NOTIFY", notify.as_str())).collect();
        let service = ground.service().arguments(arguments).environment(&notify).start_ready().await;
        service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
        sides.push((service, workloads));
    }
    for (service, workloads) in &sides {
        push(&ground, service, &workloads[PUSHES]).await;
    }
    eventually("the sink is stuck", async || (!sink.received().is_empty()).then_some(())).await;

    let mut took: [Vec<Duration>; 2] = Default::default();
    for number in 0..PUSHES {
        for turn in 0..2 {
            let side = (number + turn) % 2;
            let (service, workloads) = &sides[side];
            took[side].push(push(&ground, service, &workloads[number]).await);
        }
    }
    let [without, stuck] = took.map(|mut took| [0.5, 0.99].map(|share| quantile(&mut took, share)));
    let ratio = stuck[0].as_secs_f64() / without[0].as_secs_f64();
    println!(
        "  {PUSHES} pushes each, until the 200: median {:?} without a sink, {:?} with a stuck one ({ratio:.2}); p99 {:?}, {:?}",
        without[0], stuck[0], without[1], stuck[1]
    );
    println!("  target: at most {TARGET} at the median");
    assert!(ratio <= TARGET, "{ratio:.2}");
}

/// Pushes, and lets the rollout end: there is a message about it.
async fn push(ground: &Ground, service: &Service, (image, workload): &(String, Value)) -> Duration {
    let message = PushMessage::now(image, 2);
    let began = Instant::now();
    let answer = service.push(&message).await;
    let took = began.elapsed();
    assert_eq!(answer.json()["outcome"], "restarted", "{}", answer.text());
    let status = json!({"status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1}});
    ground.request("PATCH", &format!("{}/status", object_path(workload)), Some(status)).await.unwrap();
    took
}
