//! The pods decide: a push whose digest they run, or that they are younger than, restarts nothing.

mod ages;
mod digests;
mod looks;
mod rolling_away;

use serde_json::Value;

use crate::support::fixtures::{PushMessage, digest, result_of};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    digests::tests(suite);
    ages::tests(suite);
    looks::tests(suite);
    rolling_away::tests(suite);
}

/// A service in the test's own namespace that looks often for what waits. No push is older than its margin, however slow the
/// machine is.
async fn service(ground: &Ground) -> Service {
    service_with_margin(ground, "1h").await
}

async fn service_with_margin(ground: &Ground, margin: &str) -> Service {
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace()];
    let timing = ["--clock-margin", margin, "--deferred-poll", "100ms"];
    ground.service().arguments(arguments).arguments(timing).start_ready().await
}

/// What a push comes to at a workload.
async fn code(service: &Service, push: &PushMessage, workload: &Value) -> String {
    let answer = service.push(push).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    result_of(&answer.json(), workload)["code"].as_str().unwrap().to_owned()
}

/// How often the pods of a workload were listed, page by page.
fn pod_lists(service: &Service) -> usize {
    service.api_calls().iter().filter(|call| call.verb == "list" && call.resource == "pods").count()
}

/// A push of an image that nobody runs, delivered at once: Pub/Sub's clock is known to agree from then on.
async fn vouch_for_the_clock(service: &Service, ground: &Ground) {
    let answer = service.push(&PushMessage::now(&ground.image("nobody"), 1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn ends_with(image_id: &str, byte: u8) -> bool {
    image_id.ends_with(&digest(byte))
}
