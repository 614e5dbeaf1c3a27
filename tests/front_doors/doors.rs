//! The doors themselves: which listener has what, probes, the end.

use serde_json::json;

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both("a_push_rolls_the_workloads_that_run_the_image", a_push_rolls_the_workloads_that_run_the_image);
}

async fn a_push_rolls_the_workloads_that_run_the_image(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;

    let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert_eq!(answer["workloads"][0]["name"], json!("web"));
    assert_eq!(ground.generation(&web).await, 2);
    let metrics = get(&format!("{}/metrics", service.internal)).await.text();
    assert!(metrics.contains("pushroll_pushes_total{outcome=\"restarted\"} 1"), "{metrics}");
}
