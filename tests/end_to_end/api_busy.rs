//! What the API server is spared: so many calls at once and no more, and none while it asks to be left alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::documents::assert_restarted;
use crate::support::documents::document;
use crate::support::fixtures::{PushMessage, codes, deployment, result_of};
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(the_api_server_sees_at_most_concurrency_calls_at_once);
    suite.on_both(a_busy_api_server_is_asked_again_when_it_says);
    suite.on_embedded(a_pause_beyond_the_hold_is_not_waited_for);
    suite.on_embedded(who_runs_out_of_time_in_line_says_so);
}

const CONCURRENCY: usize = 3;
const WORKLOADS: usize = 8;

/// Pushes, scans and the timer of what waits, all at once, and a proxy that keeps every call for a while.
async fn the_api_server_sees_at_most_concurrency_calls_at_once(ground: Ground) {
    let images = [ground.image("web"), ground.image("shop")];
    let mut workloads = Vec::new();
    for (image, name) in images.iter().zip(["web", "shop"]) {
        for number in 0..WORKLOADS {
            let workload = deployment(ground.namespace(), &format!("{name}-{number}"), image);
            ground.create(&workload).await;
            workloads.push(workload);
        }
    }
    for watch in [false, true] {
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = Arc::clone(&is_slow);
        let proxy = ApiProxy::start(&ground, move |request: ApiRequest| {
            let slow = Arc::clone(&slow);
            async move {
                if slow.load(Ordering::SeqCst) && !request.is_watch() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Passage::Forward
            }
        })
        .await;
        let service = ground.service().through(&proxy).arguments(["--hold", "60s", "--concurrency", "3"]);
        let service = service.arguments(["--deferred-poll", "10ms", "--namespaces", ground.namespace()]);
        let service = if watch { service.arguments(["--watch"]) } else { service };
        let service = service.start_ready().await;
        is_slow.store(true, Ordering::SeqCst);
        let messages = images.each_ref().map(|image| PushMessage::now(image, u8::from(watch)));
        let rebuild = async {
            let answer = send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        };
        let line = eventually("calls stand in line", async || {
            (service.metric("pushroll_kubernetes_calls_waiting").await > 0.0).then_some(())
        });
        let (first, second, ..) = tokio::join!(service.push(&messages[0]), service.push(&messages[1]), rebuild, line);
        [first, second].iter().for_each(assert_restarted);
        is_slow.store(false, Ordering::SeqCst);
        assert_eq!(proxy.at_once().1, CONCURRENCY, "watch: {watch}");
        assert!(service.metric("pushroll_kubernetes_calls_in_flight").await <= 3.0);
        for workload in &workloads {
            assert_eq!(ground.generation(workload).await, 2 + i64::from(watch));
        }
    }
}

/// What a call is, by what it asks for.
fn kind(request: &ApiRequest) -> Option<&'static str> {
    let is_one = request.uri.contains("/deployments/web");
    match request.method {
        Method::GET if is_one => Some("GET"),
        Method::PATCH if is_one => Some("PATCH"),
        Method::GET if request.uri.contains("/deployments?limit=") => Some("LIST"),
        Method::GET if request.uri.contains("/configmaps/") => Some("GET of the ConfigMap"),
        _ => None,
    }
}

async fn a_busy_api_server_is_asked_again_when_it_says(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    // The first of each kind is refused, by turns with 429 and 503.
    let (refused, arrivals) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (told, times, is_busy) = (Arc::clone(&refused), Arc::clone(&arrivals), Arc::new(AtomicBool::new(false)));
    let busy = Arc::clone(&is_busy);
    let proxy = ApiProxy::start(&ground, move |request: ApiRequest| {
        let mut told = told.lock().unwrap();
        times.lock().unwrap().push((Instant::now(), request.uri.clone(), told.len()));
        let first = kind(&request).filter(|kind| busy.load(Ordering::SeqCst) && !told.contains(kind));
        told.extend(first);
        let code = if told.len() % 2 == 1 { 429 } else { 503 };
        std::future::ready(first.map_or(Passage::Forward, |_| Passage::RefuseFor(code, 1)))
    })
    .await;
    // One call at a time: what comes after a refusal was sent after it.
    let arguments = ["--hold", "60s", "--concurrency", "1", "--namespaces", ground.namespace()];
    let service = ground.service().through(&proxy).arguments(arguments).start_ready().await;
    eventually("the first scan is over", async || ground.cache_document().await).await;
    is_busy.store(true, Ordering::SeqCst);
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(ground.generation(&web).await, 2);
    let refused = refused.lock().unwrap().clone();
    for kind in ["GET", "PATCH", "LIST", "GET of the ConfigMap"] {
        assert!(refused.contains(&kind), "{kind} was not asked: {refused:?}");
    }
    // Nobody asks for anything before the second is over.
    let arrivals = arrivals.lock().unwrap();
    let mut last_refused: Option<Instant> = None;
    for (number, (at, uri, refusals_before)) in arrivals.iter().enumerate() {
        if let Some(refused_at) = last_refused {
            assert!(
                at.duration_since(refused_at) >= Duration::from_secs(1),
                "{uri}: {:?}",
                at.duration_since(refused_at)
            );
        }
        let refusals_after = arrivals.get(number + 1).map_or(refused.len(), |next| next.2);
        last_refused = (refusals_after > *refusals_before).then_some(*at);
    }
}

async fn a_pause_beyond_the_hold_is_not_waited_for(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &[&web])]));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let is_busy = Arc::new(AtomicBool::new(true));
    let busy = Arc::clone(&is_busy);
    let proxy = ApiProxy::start(&ground, move |_: ApiRequest| {
        count.fetch_add(1, Ordering::SeqCst);
        let is_busy = busy.load(Ordering::SeqCst);
        std::future::ready(if is_busy { Passage::RefuseFor(429, 20) } else { Passage::Forward })
    })
    .await;
    // One at a time: the first answer silences all others.
    let arguments = ["--hold", "5s", "--concurrency", "1"];
    let service = ground.service().through(&proxy).mount(volume.directory()).arguments(arguments).start_ready().await;
    for _ in 0..3 {
        let answer = service.push(&PushMessage::now(&image, 1)).await;
        let problem = answer.problem(503);
        let result = result_of(&problem, &web);
        assert_eq!((&result["action"], &result["code"]), (&json!("failed"), &json!("too_busy")), "{problem}");
        assert!(result["reason"].as_str().unwrap().contains("too busy"), "{problem}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it has asked to be left alone");
    is_busy.store(false, Ordering::SeqCst);
    eventually("when it may be asked again, the push is done", async || {
        (service.push(&PushMessage::now(&image, 1)).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(ground.generation(&web).await, 2);
}

async fn who_runs_out_of_time_in_line_says_so(ground: Ground) {
    let image = ground.image("web");
    let workloads = ["a", "b", "c"].map(|name| deployment(ground.namespace(), name, &image));
    for workload in &workloads {
        ground.create(workload).await;
    }
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &workloads.each_ref())]));
    let proxy = ApiProxy::start(&ground, |_: ApiRequest| std::future::pending()).await;
    let arguments = ["--hold", "3s", "--concurrency", "1"];
    let service = ground.service().through(&proxy).mount(volume.directory()).arguments(arguments).start_ready().await;
    let message = PushMessage::now(&image, 1);
    // Long before the end: a call that is given up ends in the service before its connection ends at the proxy.
    let peak_in_line = async {
        eventually("a call is made", async || (proxy.at_once().0 == 1).then_some(())).await;
        for _ in 0..10 {
            assert!(service.metric("pushroll_kubernetes_calls_in_flight").await <= 1.0);
        }
        proxy.at_once().1
    };
    let (answer, peak) = tokio::join!(service.push(&message), peak_in_line);
    assert_eq!(peak, 1);
    let answer = answer.problem(503);
    assert!(codes(&answer).values().all(|(action, code)| action == "failed" && code == "timed_out"), "{answer}");
    let in_line = |result: &&Value| result["reason"].as_str().unwrap().contains("it waited for its turn");
    let count = answer["workloads"].as_array().unwrap().iter().filter(in_line).count();
    assert!(count >= 2, "one may have had the place: {answer}");
}
