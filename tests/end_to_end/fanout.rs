//! Pushes of an image that many workloads run: each delivery gets further than the one before, and asks nothing about
//! what is known to be done.

mod lists;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::chain::LISTED;
use crate::support::fixtures::{PushMessage, codes, deployment};
use crate::support::ground::{ApiCall, Ground};
use crate::support::http::{Answer, send};
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_redelivery_asks_nothing_about_what_is_done);
    suite.on_both(what_is_not_known_to_be_the_same_push_is_looked_at);
    suite.on_both(under_a_watch_what_is_recorded_costs_no_call);
    lists::tests(suite);
}

/// More than are looked at one by one.
const MANY: usize = 120;

fn name(number: usize) -> String {
    format!("web-{number:03}")
}

fn names(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(name).collect()
}

/// Deployments without pods, so that controllers leave them alone once their creation is over.
async fn create(ground: &Ground, images: &[&str], count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let (ground, next) = (ground.clone(), Arc::clone(&next));
        let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= count {
                    return;
                }
                ground.create(&idle(&ground, number, &images)).await;
            }
        });
    }
    workers.join_all().await;
}

fn idle(ground: &Ground, number: usize, images: &[String]) -> Value {
    let mut manifest = deployment(ground.namespace(), &name(number), &images[0]);
    manifest["spec"]["replicas"] = json!(0);
    for image in &images[1..] {
        let container = json!({"name": "other", "image": image, "imagePullPolicy": "Always"});
        manifest["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(container);
    }
    manifest
}

/// The number of the workload that a request is about; 0 for others.
fn number(request: &ApiRequest) -> usize {
    let path = request.uri.split('?').next().unwrap_or_default();
    path.rsplit_once("/web-").and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
}

/// A proxy that refuses the PATCHes from this number on, until the flag is cleared.
async fn refusing(ground: &Ground, from: usize) -> (ApiProxy, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&refuses);
    let proxy = ApiProxy::start(ground, move |request| {
        let is_refused = request.is_patch() && number(&request) >= from && flag.load(Ordering::SeqCst);
        async move { if is_refused { Passage::Refuse(500, "not now") } else { Passage::Forward } }
    })
    .await;
    (proxy, refuses)
}

/// The calls about workloads since the first `after` that reached the API server, but for watches: those about single
/// ones by verb and name, and the LISTs.
struct Calls {
    gets: BTreeSet<String>,
    patches: Vec<String>,
    /// Of one namespace. The scans of a service without `--namespaces` are of all.
    lists: Vec<String>,
}

impl Calls {
    fn of(service: &Service, after: usize) -> Self {
        let calls = service.api_calls().split_off(after);
        let of_workloads = calls.into_iter().filter(|call| LISTED.contains(&call.resource.as_str()));
        let of_workloads: Vec<ApiCall> = of_workloads.collect();
        let named = |verb: &str| -> Vec<String> {
            of_workloads.iter().filter(|call| call.verb == verb).filter_map(|call| call.name.clone()).collect()
        };
        let (gets, patches) = (named("get").into_iter().collect(), named("patch"));
        let lists = of_workloads.iter().filter(|call| call.verb == "list" && call.namespace.is_some());
        Self { gets, patches, lists: lists.map(|call| call.uri.clone()).collect() }
    }

    fn patched(&self) -> BTreeSet<String> {
        self.patches.iter().cloned().collect()
    }

    /// On the real control plane a status may be written between a look and its PATCH; the next look is a GET.
    fn gets_without_conflicts(&self) -> BTreeSet<String> {
        let tries = |name: &&String| self.patches.iter().filter(|patched| patched == name).count();
        self.gets.iter().filter(|name| tries(name) < 2).cloned().collect()
    }
}

/// What an answer says, whatever its status: how many workloads have this code.
fn with_code(answer: &Answer, code: &str) -> usize {
    codes(&answer.json()).values().filter(|(_, of)| of == code).count()
}

async fn a_redelivery_asks_nothing_about_what_is_done(ground: Ground) {
    let image = ground.image("web");
    create(&ground, &[&image], 20).await;
    let (proxy, refuses) = refusing(&ground, 12).await;
    let service = ground.service().through(&proxy).start_ready().await;
    let push = PushMessage::now(&image, 1);
    let first = service.push(&push).await;
    assert_eq!((first.status.as_u16(), with_code(&first, "runs_image")), (503, 12), "{}", first.text());

    for refused in [true, false] {
        refuses.store(refused, Ordering::SeqCst);
        let before = service.api_calls().len();
        let answer = service.push(&push).await;
        let calls = Calls::of(&service, before);
        assert_eq!(with_code(&answer, "already_restarted"), 12, "{}", answer.text());
        assert_eq!(calls.gets, names(12..20), "only what is left is looked at");
        assert_eq!(calls.patched(), if refused { names([]) } else { names(12..20) });
        assert_eq!(answer.status, if refused { 503 } else { 200 }, "{}", answer.text());
    }
    // What is acknowledged is forgotten, and the record speaks.
    let before = service.api_calls().len();
    let answer = service.push(&push).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "already_restarted")), (200, 20), "{}", answer.text());
    assert_eq!(Calls::of(&service, before).gets, names(0..20));
}

/// A dry run; a replay by a person; the same id with another image, time or subscription; no publish time.
async fn what_is_not_known_to_be_the_same_push_is_looked_at(ground: Ground) {
    let (web, side) = (ground.image("web"), ground.image("side"));
    create(&ground, &[&web, &side], 4).await;
    let (proxy, _) = refusing(&ground, 3).await;
    let service = ground.service().through(&proxy).start_ready().await;
    let (public, admin) = (format!("{}/v1/push", service.public), format!("{}/v1/push", service.admin));
    let dry_run = format!("{admin}?dry_run=true");
    let looked_at = async |url: &str, body: String| {
        let before = service.api_calls().len();
        let answer = send(Method::POST, url, &[], body).await;
        (answer.status.as_u16(), Calls::of(&service, before).gets)
    };
    let push = PushMessage::now(&web, 1);
    let all = names(0..4);
    assert_eq!(looked_at(&dry_run, push.body()).await, (200, all.clone()));
    assert_eq!(looked_at(&public, push.body()).await, (503, all.clone()), "a dry run leaves nothing behind");
    assert_eq!(looked_at(&public, push.body()).await, (503, names([3])));
    assert_eq!(looked_at(&dry_run, push.body()).await, (200, all.clone()), "a dry run looks at all");
    assert_eq!(looked_at(&admin, push.body()).await, (503, all.clone()), "a person may have made the event up");

    let other_image = PushMessage { image: side.clone(), ..push.clone() };
    assert_eq!(looked_at(&public, other_image.body()).await, (503, all.clone()));
    let later = PushMessage { published: push.published + SignedDuration::from_millis(1), ..push.clone() };
    assert_eq!(looked_at(&public, later.body()).await, (503, all.clone()));
    let other_subscription = push.body().replace("subscriptions/s\"", "subscriptions/t\"");
    assert_ne!(other_subscription, push.body());
    assert_eq!(looked_at(&public, other_subscription).await, (503, all.clone()));
    let mut without_time: Value = serde_json::from_str(&push.body()).unwrap();
    for key in ["publishTime", "publish_time"] {
        without_time["message"].as_object_mut().unwrap().remove(key);
    }
    for _ in 0..2 {
        let gets = looked_at(&public, without_time.to_string()).await;
        assert_eq!(gets, (503, all.clone()), "each delivery of it is a new push");
    }
}

async fn under_a_watch_what_is_recorded_costs_no_call(ground: Ground) {
    const LEFT: usize = MANY - 10;
    let image = ground.image("web");
    create(&ground, &[&image], MANY).await;
    let watching = |proxy: &ApiProxy| {
        ground.service().arguments(["--watch", "--hold", "60s", "--namespaces", ground.namespace()]).through(proxy)
    };
    let is_live = |status: &Value| status["tiers"]["watch"]["live"] == true;
    let (proxy, refuses) = refusing(&ground, LEFT).await;
    let first = watching(&proxy).start_ready().await;
    first.wait_for_status("the watch is live", is_live).await;
    let push = PushMessage::now(&image, 1);
    let answer = first.push(&push).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "runs_image")), (503, LEFT), "{}", answer.text());

    // Another replica, which has seen nothing of it but the workloads.
    let (second_proxy, second_refuses) = refusing(&ground, LEFT).await;
    let second = watching(&second_proxy).start_ready().await;
    second.wait_for_status("the watch is live", is_live).await;
    for service in [&first, &second] {
        let before = service.api_calls().len();
        let answer = service.push(&push).await;
        assert_eq!((answer.status.as_u16(), with_code(&answer, "already_restarted")), (503, LEFT), "{}", answer.text());
        let Calls { gets, patches, lists } = Calls::of(service, before);
        assert!(gets.is_subset(&names(LEFT..MANY)), "{gets:?}");
        assert_eq!((patches, lists), (vec![], vec![]), "what was refused is all that there was");
    }
    [refuses, second_refuses].iter().for_each(|refuses| refuses.store(false, Ordering::SeqCst));
    let before = second.api_calls().len();
    let answer = second.push(&push).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "runs_image")), (200, 10), "{}", answer.text());
    let calls = Calls::of(&second, before);
    assert_eq!((calls.patched(), calls.lists.len()), (names(LEFT..MANY), 0));
    assert_eq!(calls.gets_without_conflicts(), names([]));

    // That a newer push was done is recorded as well; and so it is for few workloads.
    let before = second.api_calls().len();
    let older = PushMessage { published: push.published - SignedDuration::from_secs(1), ..PushMessage::now(&image, 2) };
    let answer = second.push(&older).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "newer_push_done")), (200, MANY), "{}", answer.text());
    let few = ground.image("few");
    ground.create(&deployment(ground.namespace(), "few", &few)).await;
    second.wait_for_lookup(&few, &["few"]).await;
    let push = PushMessage::now(&few, 1);
    assert_eq!(second.push(&push).await.json()["outcome"], "restarted");
    let calls = Calls::of(&second, before);
    assert_eq!((calls.patched(), calls.lists.len()), (["few".to_owned()].into(), 0));
    let before = second.api_calls().len();
    assert_eq!(second.push(&push).await.json()["outcome"], "current");
    let calls = Calls::of(&second, before);
    assert_eq!((calls.gets, calls.patches, calls.lists), (names([]), vec![], vec![]));
}
