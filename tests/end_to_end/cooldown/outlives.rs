//! What is deferred outlives the replicas that took it.

use serde_json::{Value, json};

use super::{at_its_end, looks, set_cooldown, with_cooldown};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{record, replica};

pub(super) fn tests(suite: &mut Suite) {
    suite.on_both(a_deferred_push_outlives_the_replica_that_took_it);
    suite.on_both(a_deferred_push_outlives_all_replicas);
}

async fn a_deferred_push_outlives_the_replica_that_took_it(ground: Ground) {
    let image = ground.image("web");
    let kinds: [fn(&str, &str, &str) -> Value; 2] = [deployment, daemon_set];
    let workloads = kinds.map(|kind| with_cooldown(kind(ground.namespace(), "web", &image), "1h"));
    for workload in &workloads {
        ground.create(workload).await;
    }
    let replicas = [replica(&ground).await, replica(&ground).await, replica(&ground).await];
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(replicas[1].push(&first).await.json()["outcome"], "restarted");
    assert_eq!(replicas[0].push(&second).await.json()["outcome"], "deferred");
    replicas[0].signal("KILL");
    replicas[0].ended().await;
    assert_eq!(replicas[2].push(&second).await.json()["outcome"], "deferred", "delivered again, to another");
    for workload in &workloads {
        set_cooldown(&ground, workload, json!("1s")).await;
    }
    for workload in &workloads {
        let object = at_its_end(&ground, workload).await;
        assert_eq!(record(&object)[&image]["message_id"], second.id);
    }
    // Both go on looking, and find nothing more to do.
    let before = [looks(&replicas[1]), looks(&replicas[2])];
    eventually("each has looked again, twice", async || {
        let again = [looks(&replicas[1]) - before[0], looks(&replicas[2]) - before[1]];
        (again.iter().all(|looks| *looks >= 3)).then_some(())
    })
    .await;
    for workload in &workloads {
        // A change of a Deployment's own annotations counts; of a DaemonSet's it does not.
        let edit = i64::from(workload["kind"] == "Deployment");
        assert_eq!(ground.generation(workload).await, 3 + edit);
    }
    assert_eq!(replicas[2].push(&second).await.json()["outcome"], "current");
}

async fn a_deferred_push_outlives_all_replicas(ground: Ground) {
    let image = ground.image("web");
    let web = with_cooldown(stateful_set(ground.namespace(), "web", &image), "1h");
    ground.create(&web).await;
    let [first, second] = [0xa1, 0xa2].map(|byte| PushMessage::now(&image, byte));
    {
        let replicas = [replica(&ground).await, replica(&ground).await];
        assert_eq!(replicas[0].push(&first).await.json()["outcome"], "restarted");
        assert_eq!(replicas[1].push(&second).await.json()["outcome"], "deferred");
    }
    set_cooldown(&ground, &web, json!("1s")).await;
    let _replicas = [replica(&ground).await, replica(&ground).await];
    let object = at_its_end(&ground, &web).await;
    assert_eq!(record(&object)[&image]["message_id"], second.id);
    assert_eq!(object["metadata"]["generation"], 3);
}
