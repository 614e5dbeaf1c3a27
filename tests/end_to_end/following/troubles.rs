//! Following where something refuses, fails, or never ceases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use pushroll::rollout::FollowingLabel;

use super::*;
use crate::support::in_process::InProcess;
use crate::support::kubelet::Life;
use crate::support::proxy::{ApiRequest, Passage};
use crate::support::sink::{Does, Sink};

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_lasting_failure_is_notified_of_once);
    suite.on_both(a_label_that_may_not_be_removed_is_no_reason_to_notify_again);
    suite.on_both(a_push_whose_last_workload_is_deleted_is_summarised);
    suite.on_both(events_that_are_rate_limited_hold_up_nothing);
    suite.on_both(a_foreign_label_that_may_not_be_removed_is_tried_once);
    suite.on_both(pods_that_cannot_be_listed_hold_up_no_ending);
    suite.on_both(restarts_that_never_cease_are_followed_without_a_watch);
    suite.on_both(a_paused_workload_is_seldom_looked_at_without_a_watch);
}

/// A rule that refuses what `is_meant` says, while it is switched on, and counts it.
#[derive(Clone)]
struct Refusing {
    refuses: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    code: u16,
    is_meant: fn(&ApiRequest) -> bool,
}

impl Refusing {
    fn new(code: u16, is_meant: fn(&ApiRequest) -> bool) -> Self {
        Self { refuses: Arc::new(AtomicBool::new(true)), count: Arc::default(), code, is_meant }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn ends(&self) {
        self.refuses.store(false, Ordering::SeqCst);
    }

    async fn rule(self, request: ApiRequest) -> Passage {
        if !(self.is_meant)(&request) {
            return Passage::Forward;
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        let message = "User \"pushroll\" cannot do this";
        if self.refuses.load(Ordering::SeqCst) { Passage::Refuse(self.code, message) } else { Passage::Forward }
    }
}

fn is_event(request: &ApiRequest) -> bool {
    request.method == Method::POST && request.uri.contains("/events?")
}

fn is_removal_of_a_label(request: &ApiRequest) -> bool {
    request.is_patch() && request.uri.contains("fieldManager=pushroll-following")
}

fn is_list_of_pods(request: &ApiRequest) -> bool {
    request.method == Method::GET && request.uri.contains("/pods?")
}

fn is_list_by_label(request: &ApiRequest) -> bool {
    request.method == Method::GET && request.uri.contains("labelSelector=pushroll%2Edev%2Ffollowing")
}

/// Whose summaries come soon.
pub(super) fn impatient(ground: &Ground, is_watching: bool, sink: Option<&Sink>) -> InProcess {
    let sinks = sink.map(|sink| format!("all=cloudevents:{}", sink.url).parse().unwrap());
    ground.service_in_process().configure(|config| {
        config.cache.watch = is_watching;
        config.policy.namespaces = vec![ground.namespace().to_owned()];
        config.notify.sinks.extend(sinks);
        config.following.settle = Duration::from_millis(100);
        config.following.recovery = Duration::from_secs(1);
    })
}

pub(super) async fn stage(ground: &Ground, service: InProcess) -> Stage {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    Stage { ground: ground.clone(), kubelet, service: service.start_ready().await, image }
}

/// What the sink was sent, doubles as well.
fn sent(sink: &Sink) -> Vec<String> {
    let kind = |message: &Value| message["type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    sink.received().iter().map(|received| kind(&received.body)).collect()
}

/// It is followed on, because it may recover.
async fn a_lasting_failure_is_notified_of_once(ground: Ground) {
    let sink = Sink::start(Does::answer(200, "", "ok"));
    let stage = stage(&ground, impatient(&ground, true, Some(&sink))).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.refuse_pulls(&stage.image, "ImagePullBackOff", "no such manifest");
    let answer = stage.service.push(&PushMessage::now(&stage.image, 2)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("it is summarised", async || (sent(&sink).len() == 2).then_some(())).await;
    let before = sent(&sink);
    // Each is a change of the workload, which is looked at.
    for n in 0..3 {
        let label = json!({"metadata": {"labels": {"example.com/change": n.to_string()}}});
        stage.ground.patch(&web, "somebody", label).await;
    }
    stage.kubelet.push(&stage.image, 2);
    stage.event(&web, "Normal", "RolloutComplete").await;
    stage.followed_to_its_end(&web).await;
    assert_eq!(sent(&sink), before);
}

async fn a_label_that_may_not_be_removed_is_no_reason_to_notify_again(ground: Ground) {
    let sink = Sink::start(Does::answer(200, "", "ok"));
    let refusing = Refusing::new(403, is_removal_of_a_label);
    let rule = refusing.clone();
    let service = impatient(&ground, true, Some(&sink)).faults(move |request| rule.clone().rule(request));
    let stage = stage(&ground, service).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.push(2).await;
    eventually("it is tried again", async || (refusing.count() >= 3).then_some(())).await;
    refusing.ends();
    stage.followed_to_its_end(&web).await;
    assert_eq!(sent(&sink).len(), 1, "{:?}", sent(&sink));
    assert_eq!(stage.rollouts("Deployment", "complete").await, 1.0);
}

async fn a_push_whose_last_workload_is_deleted_is_summarised(ground: Ground) {
    let sink = Sink::start(Does::answer(200, "", "ok"));
    let stage = stage(&ground, impatient(&ground, true, Some(&sink))).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(2).await;
    stage.event(&web, "Normal", "Restarted").await;
    stage.ground.delete(&web).await;
    let message = eventually("it is summarised", async || sink.received().first().cloned()).await;
    assert_eq!(message.body["data"]["workloads"][0]["ending"], "gone", "{}", message.body);
}

/// As the admission plugin EventRateLimit does. What was not written is written later.
async fn events_that_are_rate_limited_hold_up_nothing(ground: Ground) {
    let sink = Sink::start(Does::answer(200, "", "ok"));
    let refusing = Refusing::new(429, is_event);
    let rule = refusing.clone();
    let service = impatient(&ground, true, Some(&sink)).faults(move |request| rule.clone().rule(request));
    let stage = stage(&ground, service).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    for byte in [2, 3] {
        let answer = stage.push(byte).await;
        assert_eq!(answer["outcome"], "restarted", "{answer}");
        let endings = f64::from(byte - 1);
        let is_complete = async || (stage.rollouts("Deployment", "complete").await == endings).then_some(());
        eventually("it is complete", is_complete).await;
        eventually("it is notified of", async || (sent(&sink).len() == usize::from(byte) - 1).then_some(())).await;
    }
    assert!(refusing.count() >= 2 && stage.events(&web).await.is_empty());
    refusing.ends();
    stage.followed_to_its_end(&web).await;
    let reasons: Vec<_> = stage.events(&web).await.into_iter().map(|event| event.1).collect();
    assert_eq!(reasons, ["Restarted", "RolloutComplete", "Restarted", "RolloutComplete"]);
    assert_eq!(sent(&sink).len(), 2);
}

/// Of our installation, set by hand on a workload that was never restarted.
async fn a_foreign_label_that_may_not_be_removed_is_tried_once(ground: Ground) {
    let refusing = Refusing::new(403, |request| is_removal_of_a_label(request) && request.uri.contains("/foreign?"));
    let rule = refusing.clone();
    let service = impatient(&ground, true, None).faults(move |request| rule.clone().rule(request));
    let stage = stage(&ground, service).await;
    let foreign = stage.kubelet.deployment("foreign", &stage.ground.image("other"), 0);
    let web = stage.kubelet.deployment("web", &stage.image, 0);
    stage.create(&foreign).await;
    stage.create(&web).await;
    let label = FollowingLabel::new(stage.ground.namespace(), "pushroll-waiting").value("2026-11-27T12:00:00Z");
    stage.ground.patch(&foreign, "somebody", json!({"metadata": {"labels": {FOLLOWING: label}}})).await;
    eventually("it is refused", async || (refusing.count() == 1).then_some(())).await;
    // Whatever else is followed, and whatever changes.
    for byte in [2, 3] {
        stage.push(byte).await;
        stage.followed_to_its_end(&web).await;
        let change = json!({"metadata": {"labels": {"example.com/change": byte.to_string()}}});
        stage.ground.patch(&foreign, "somebody", change).await;
    }
    stage.push(4).await;
    stage.followed_to_its_end(&web).await;
    assert_eq!(refusing.count(), 1);
}

async fn pods_that_cannot_be_listed_hold_up_no_ending(ground: Ground) {
    let refusing = Refusing::new(500, is_list_of_pods);
    let rule = refusing.clone();
    let service = impatient(&ground, true, None).faults(move |request| rule.clone().rule(request));
    let service = service.configure(|config| config.following.rollout_timeout = Duration::from_secs(1));
    let stage = stage(&ground, service).await;
    let (web, slow) = (stage.kubelet.deployment("web", &stage.image, 1), stage.ground.image("slow"));
    stage.kubelet.push(&slow, 1);
    let slow_web = stage.kubelet.deployment("slow", &slow, 1);
    stage.create(&web).await;
    stage.create(&slow_web).await;
    stage.push(2).await;
    stage.kubelet.push(&slow, 3);
    stage.kubelet.digest_lives(3, Life::NotReady);
    stage.service.push(&PushMessage::now(&slow, 3)).await;
    stage.followed_to_its_end(&slow_web).await;
    assert_eq!(stage.rollouts("Deployment", "unknown").await, 1.0);
    let note = stage.event(&web, "Normal", "RolloutComplete").await;
    assert!(note.contains("was not checked") && note.contains("cannot do this"), "{note}");
}

/// One more restart follows at once whenever a LIST of the labels is due.
async fn restarts_that_never_cease_are_followed_without_a_watch(ground: Ground) {
    let lists = Refusing::new(500, is_list_by_label);
    lists.ends();
    let rule = lists.clone();
    let service = impatient(&ground, false, None).faults(move |request| rule.clone().rule(request));
    let stage = stage(&ground, service).await;
    let images: Vec<String> = (0..30).map(|n| stage.ground.image(&format!("web-{n}"))).collect();
    for (n, image) in images.iter().enumerate() {
        stage.create(&stage.kubelet.deployment(&format!("web-{n}"), image, 0)).await;
    }
    for image in &images {
        let answer = stage.service.push(&PushMessage::now(image, 2)).await.json();
        assert_eq!(answer["outcome"], "restarted", "{answer}");
        if lists.count() > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody has looked for the labels");
}

async fn a_paused_workload_is_seldom_looked_at_without_a_watch(ground: Ground) {
    let gets = Refusing::new(500, ApiRequest::is_get);
    let lists = Refusing::new(500, is_list_by_label);
    gets.ends();
    lists.ends();
    let rules = (gets.clone(), lists.clone());
    let service = impatient(&ground, false, None).faults(move |request| {
        let (gets, lists) = rules.clone();
        async move {
            gets.rule(request.clone()).await;
            lists.rule(request).await
        }
    });
    let stage = stage(&ground, service).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.ground.patch(&web, "somebody", json!({"spec": {"paused": true}})).await;
    stage.push(2).await;
    stage.event(&web, "Normal", "Restarted").await;
    let before = (gets.count(), lists.count());
    eventually("the labels are listed", async || (lists.count() > before.1 + 2 * 3).then_some(())).await;
    let looks = gets.count() - before.0;
    assert!(looks <= 1, "{looks}: a LIST shows its resume");
    stage.ground.patch(&web, "somebody", json!({"spec": {"paused": false}})).await;
    stage.event(&web, "Normal", "RolloutComplete").await;
}
