//! The service's own roll: while pushes flow, replicas come and go, and no push is cut off or done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::deliverer::Deliverer;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::load_balancer::LoadBalancer;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(rolls_under_pushes_cut_nobody_off);
}

async fn rolls_under_pushes_cut_nobody_off(ground: Ground) {
    const IMAGES: usize = 20;
    let mut workloads = Vec::new();
    for number in 0..IMAGES {
        let image = ground.image(&format!("web-{number}"));
        let mut web = deployment(ground.namespace(), &format!("web-{number}"), &image);
        web["spec"]["replicas"] = json!(0);
        ground.create(&web).await;
        workloads.push((web, image));
    }
    let replica = || {
        // A hundred times what the load balancer takes to look.
        let service = ground.service().arguments(["--drain-delay", "5s", "--drain-timeout", "60s", "--hold", "60s"]);
        service.arguments(["--namespaces", ground.namespace()]).start_ready()
    };
    let balancer = LoadBalancer::start().await;
    let mut serving = vec![replica().await, replica().await];
    for replica in &serving {
        balancer.add(replica).await;
    }

    let is_rolled = Arc::new(AtomicBool::new(false));
    // Wave after wave until all is over: each message is answered before the next of its image, or they would be one
    // restart.
    let waves = async {
        let mut waves = 0_u32;
        while !is_rolled.load(Ordering::SeqCst) {
            waves += 1;
            // Another than that of the wave before.
            let digest = u8::try_from(waves % 250).unwrap();
            let messages = workloads.iter().map(|(_, image)| PushMessage::now(image, digest));
            let deliveries = Deliverer::start(&[balancer.url()], 8, messages).all_acked().await;
            let cut_off = balancer.cut_off();
            assert_eq!(deliveries.len(), IMAGES, "all at the first delivery: {cut_off:?}: {deliveries:?}");
        }
        waves
    };
    let rolls = async {
        let mut gone = Vec::new();
        for _ in 0..6 {
            // As `maxSurge: 1`, `maxUnavailable: 0` has it.
            let new = replica().await;
            balancer.add(&new).await;
            serving.push(new);
            let old = serving.remove(0);
            let sent = balancer.sent(&old);
            eventually("it has something to do", async || (balancer.sent(&old) > sent + 5).then_some(())).await;
            old.signal("TERM");
            gone.push(old);
        }
        for old in &gone {
            assert_eq!(old.ended().await.code(), Some(0));
            assert!(!balancer.is_sent_to(old));
        }
        is_rolled.store(true, Ordering::SeqCst);
        gone
    };
    let (waves, gone) = tokio::join!(waves, rolls);
    println!("{} pushes in {waves} waves over {} rolls, none cut off", waves as usize * IMAGES, gone.len());
    assert_eq!(balancer.cut_off(), Vec::<String>::new());
    for (web, _) in &workloads {
        assert_eq!(ground.generation(web).await, 1 + i64::from(waves), "{web}");
    }
}
