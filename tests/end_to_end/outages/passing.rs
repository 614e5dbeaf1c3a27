//! What may become of a call on its way to the API server: after it is over every push is done, and none twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use crate::chain::{LISTED, count};
use crate::support::deliverer::{Deliverer, Delivery, results};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(what_is_nacked_in_an_outage_is_done_once_after_it);
    suite.on_both(what_is_nacked_in_an_outage_is_done_once_after_it_under_a_watch);
    suite.on_embedded(many_nacked_pushes_are_no_herd);
}

/// Pub/Sub's default, and the least that a subscription may have.
pub const ACK_DEADLINE: Duration = Duration::from_secs(10);

const PASSAGES: [Passage; 7] = [
    Passage::RefuseFor(429, 1),
    Passage::Refuse(429, "too many requests"),
    Passage::Refuse(500, "an internal error"),
    Passage::Refuse(503, "the server is currently unable to handle the request"),
    Passage::Hang,
    Passage::LoseAnswer,
    Passage::CutBody,
];

/// A service behind a proxy whose passage the test changes.
struct Behind {
    service: Service,
    proxy: ApiProxy,
    passage: watch::Sender<Passage>,
    /// Calls that came to the proxy: about the ConfigMap, and about workloads.
    calls: [Arc<AtomicUsize>; 2],
}

impl Behind {
    async fn start<const N: usize>(ground: &Ground, arguments: [&str; N]) -> Self {
        let passage = watch::Sender::new(Passage::Forward);
        let (now, calls) = (passage.subscribe(), <[Arc<AtomicUsize>; 2]>::default());
        let counters = calls.clone();
        let rule = move |request: ApiRequest| {
            let counter = &counters[usize::from(request.uri.starts_with("/apis/apps/"))];
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::ready(*now.borrow())
        };
        let proxy = ApiProxy::start(ground, rule).await;
        // A second is long enough for an answer of the API server, and short enough to wait for one that never comes.
        let service = ground.service().through(&proxy).arguments(["--hold", "1s", "--namespaces", ground.namespace()]);
        let service = service.arguments(arguments).start_ready().await;
        Self { service, proxy, passage, calls }
    }

    fn calls(&self) -> [usize; 2] {
        self.calls.each_ref().map(|calls| calls.load(Ordering::SeqCst))
    }
}

/// A workload of each kind, each with an image of its own; no controller works on them.
async fn create_workloads(ground: &Ground) -> Vec<(Value, String)> {
    let mut workloads = Vec::new();
    for number in 0..4 {
        let image = |kind: &str| ground.image(&format!("{kind}-{number}"));
        let name = |kind: &str| format!("{kind}-{number}");
        let mut deployment = deployment(ground.namespace(), &name("deployment"), &image("deployment"));
        deployment["spec"]["replicas"] = 0.into();
        let mut stateful_set = stateful_set(ground.namespace(), &name("statefulset"), &image("statefulset"));
        stateful_set["spec"]["replicas"] = 0.into();
        let mut daemon_set = daemon_set(ground.namespace(), &name("daemonset"), &image("daemonset"));
        daemon_set["spec"]["template"]["spec"]["nodeSelector"] = serde_json::json!({"no": "node"});
        for (kind, manifest) in [("deployment", deployment), ("statefulset", stateful_set), ("daemonset", daemon_set)] {
            ground.create(&manifest).await;
            workloads.push((manifest, image(kind)));
        }
    }
    workloads
}

/// Each answer came in time, and none of them was anything but "done" and "not yet".
pub fn are_acks_and_nacks(deliveries: &[Delivery]) {
    let slowest = deliveries.iter().map(|delivery| delivery.took).max().unwrap();
    assert!(slowest < ACK_DEADLINE, "{slowest:?}");
    let other = deliveries.iter().find(|delivery| !matches!(delivery.result, Ok(200 | 503)));
    assert!(other.is_none(), "{other:?} among {:?}", results(deliveries));
}

async fn what_is_nacked_in_an_outage_is_done_once_after_it(ground: Ground) {
    play(ground, false).await;
}

async fn what_is_nacked_in_an_outage_is_done_once_after_it_under_a_watch(ground: Ground) {
    play(ground, true).await;
}

async fn play(ground: Ground, watching: bool) {
    let workloads = create_workloads(&ground).await;
    let behind = if watching { Behind::start(&ground, ["--watch"]).await } else { Behind::start(&ground, []).await };
    let is_known = |status: &Value| status["index"]["workloads"] == workloads.len();
    behind.service.wait_for_status("the index knows all", is_known).await;
    let is_live = |status: &Value| !watching || status["tiers"]["watch"]["live"] == true;
    for (number, passage) in PASSAGES.into_iter().enumerate() {
        behind.service.wait_for_status("the watch, where there is one, is live", is_live).await;
        behind.passage.send_replace(passage);
        let digest = u8::try_from(number + 1).unwrap();
        // One that nobody runs among them: its answer, too, must be proven.
        let images = workloads.iter().map(|(_, image)| image.clone()).chain([ground.image("nobodys")]);
        let messages: Vec<_> = images.map(|image| PushMessage::now(&image, digest)).collect();
        let deliverer = Deliverer::start(&[&behind.service.public], 64, messages);
        // An answer that is lost is a restart that stands, found by the next delivery: no nack is sure to come twice.
        deliverer.until_nacked(workloads.len()).await;
        behind.passage.send_replace(Passage::Forward);
        are_acks_and_nacks(&deliverer.all_acked().await);
        for (workload, _) in &workloads {
            let generation = ground.generation(workload).await;
            assert_eq!(generation, 2 + i64::try_from(number).unwrap(), "{passage:?}: {workload}");
        }
    }
}

/// 300 pushes that all wait for the same proof are nacked; while nothing answers, and when it does again, they share
/// their calls.
async fn many_nacked_pushes_are_no_herd(ground: Ground) {
    const PUSHES: usize = 300;
    let interval = Duration::from_millis(500);
    let behind = Behind::start(&ground, ["--rebuild-interval", "500ms", "--hold", "4s"]).await;
    let mut workloads = Vec::new();
    for number in 0..10 {
        let image = ground.image(&format!("web-{number}"));
        let web = deployment(ground.namespace(), &format!("web-{number}"), &image);
        ground.create(&web).await;
        workloads.push((web, image));
    }
    // It scans for the first push of them, and so knows them all.
    let answer = behind.service.push(&PushMessage::now(&workloads[0].1, 1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let message = |number: usize| match workloads.get(number) {
        Some((_, image)) => PushMessage::now(image, 2),
        None => PushMessage::now(&ground.image(&format!("nobodys-{number}")), 2),
    };

    behind.passage.send_replace(Passage::Refuse(503, "not now"));
    let (began, before, connections) = (Instant::now(), behind.calls(), behind.proxy.connections());
    let deliverer = Deliverer::start(&[&behind.service.public], PUSHES, (0..PUSHES).map(message));
    deliverer.until_nacked(4 * PUSHES).await;
    let after = behind.calls();
    let (took, nacked) = (began.elapsed(), deliverer.nacked());
    let [of_config_map, of_workloads] = [0, 1].map(|of| after[of] - before[of]);
    let rounds = |time: Duration| time.as_millis().div_ceil(interval.as_millis()) as usize + 1;
    // A round is the GET of the ConfigMap alone while that fails.
    assert!(of_config_map <= rounds(took), "{of_config_map} GETs of the ConfigMap for {nacked} nacks in {took:?}");
    // A delivery of one of the ten is one GET; some may be under way that are not nacked yet.
    let of_ten = nacked.div_ceil(PUSHES) * workloads.len() * 2;
    assert!(of_workloads <= of_ten, "{of_workloads} calls about workloads for {nacked} nacks in {took:?}");
    let (connections, calls) = (behind.proxy.connections() - connections, of_config_map + of_workloads);
    assert!(connections <= calls, "{connections} connections for {calls} calls");
    println!(
        "away: {nacked} nacks in {took:?} are {of_config_map} + {of_workloads} calls by {connections} connections"
    );

    let before = behind.service.api_calls().len();
    let recovered = Instant::now();
    behind.passage.send_replace(Passage::Forward);
    are_acks_and_nacks(&deliverer.all_acked().await);
    let took = recovered.elapsed();
    let calls = &behind.service.api_calls()[before..];
    for kind in LISTED {
        let lists = count(calls, "list", kind);
        assert!(lists <= rounds(took), "{lists} LISTs of {kind} in {took:?}");
    }
    assert!(count(calls, "get", "configmaps") <= rounds(took), "{calls:?} in {took:?}");
    let of_workloads = calls.iter().filter(|call| call.resource == "deployments" && call.verb != "list").count();
    // Each is got and patched; a delivery whose proof came late is another GET.
    let allowed = 2 * workloads.len() + workloads.len() * rounds(took);
    assert!(of_workloads <= allowed, "{of_workloads} > {allowed}");
    println!("back: all done in {took:?} with {} LISTs of a kind", count(calls, "list", "deployments"));
    for (number, (web, _)) in workloads.iter().enumerate() {
        assert_eq!(ground.generation(web).await, if number == 0 { 3 } else { 2 }, "{web}");
    }
}
