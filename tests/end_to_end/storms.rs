//! Storms of pushes: many of one tag at once.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::fixtures::{PushMessage, daemon_set, deployment, digest, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::proxy::{ApiProxy, Passage, once};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::record;

pub fn tests(suite: &mut Suite) {
    suite.on_both(ten_pushes_at_once_are_two_restarts_the_last_for_the_newest);
    suite.on_both(ten_deliveries_of_one_message_at_once_are_one_restart);
    suite.on_both(pushes_without_a_place_in_the_order_are_not_lost_in_a_storm);
}

/// A service whose first PATCH leaves only when it is told to.
struct Held {
    service: Service,
    arrived: Arc<Notify>,
    go: Arc<Notify>,
    deliveries: JoinSet<(usize, Value)>,
    sent: usize,
}

impl Held {
    async fn start(ground: &Ground) -> Self {
        let (first, arrived, go) = (once(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (is_here, may_leave) = (Arc::clone(&arrived), Arc::clone(&go));
        let proxy = ApiProxy::start(ground, move |request| {
            let (first, is_here, may_leave) = (first.clone(), Arc::clone(&is_here), Arc::clone(&may_leave));
            async move {
                if request.is_patch() && first() {
                    is_here.notify_one();
                    may_leave.notified().await;
                }
                Passage::Forward
            }
        });
        let proxy = proxy.await;
        let service = ground.service().through(&proxy).arguments(["--hold", "60s"]).start_ready().await;
        Self { service, arrived, go, deliveries: JoinSet::new(), sent: 0 }
    }

    fn send(&mut self, headers: &'static [(&'static str, &'static str)], body: String) {
        let (number, url) = (self.sent, format!("{}/v1/push", self.service.public));
        self.sent += 1;
        self.deliveries.spawn(async move {
            let answer = send(http::Method::POST, &url, headers, body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            (number, answer.json())
        });
    }

    /// Lets the first PATCH go when all others wait; the answers in the order in which the pushes were sent.
    async fn answers(&mut self) -> Vec<Value> {
        let others = f64::from(u32::try_from(self.sent - 1).unwrap());
        eventually("the others wait for their turn", async || {
            (self.service.metric("pushroll_queued_restarts").await == others).then_some(())
        })
        .await;
        self.go.notify_one();
        let mut answers = std::mem::take(&mut self.deliveries).join_all().await;
        answers.sort_by_key(|(number, _)| *number);
        assert_eq!(self.service.metric("pushroll_queued_restarts").await, 0.0);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

async fn ten_pushes_at_once_are_two_restarts_the_last_for_the_newest(ground: Ground) {
    let kinds: [fn(&str, &str, &str) -> Value; 3] = [deployment, stateful_set, daemon_set];
    for (number, kind) in kinds.into_iter().enumerate() {
        let image = ground.image(&format!("web-{number}"));
        let web = kind(ground.namespace(), &format!("web-{number}"), &image);
        ground.create(&web).await;
        let mut held = Held::start(&ground).await;
        // In the order in which they were published.
        let pushes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|second: u8| {
            let push = PushMessage::now(&image, 0xa0 + second);
            PushMessage { published: push.published - SignedDuration::from_secs(9 - i64::from(second)), ..push }
        });
        // And in another they arrive.
        let order = [0, 4, 2, 8, 1, 9, 3, 7, 5, 6];
        held.send(&[], pushes[order[0]].body());
        held.arrived.notified().await;
        for push in &order[1..] {
            held.send(&[], pushes[*push].body());
        }
        let results: Vec<Value> = held.answers().await.iter().map(|answer| result_of(answer, &web)).collect();

        assert_eq!(ground.generation(&web).await, 3, "{results:#?}");
        let record = record(&ground.get(&web).await);
        assert_eq!(record[&image]["message_id"], pushes[9].id, "the last restart is for the newest");
        assert_eq!(record[&image]["digest"], digest(0xa9));
        assert_eq!(results[0]["code"], "runs_image", "{results:#?}");
        let restarted: Vec<usize> = (1..10).filter(|number| results[*number]["action"] == json!("restarted")).collect();
        assert_eq!(restarted.len(), 1, "{results:#?}");
        for (number, result) in results.iter().enumerate().skip(1) {
            let newest = format!("{:.3}", pushes[9].published);
            let reason = result["reason"].as_str().unwrap();
            let is_newest = order[number] == 9;
            match restarted.contains(&number) {
                true => assert_eq!(
                    reason.contains(&format!("a newer push that came meanwhile, published {newest}")),
                    !is_newest,
                    "{result}"
                ),
                false if is_newest => assert_eq!(result["code"], "already_restarted", "{result}"),
                false => assert!(result["code"] == "newer_push_done" && reason.contains(&newest), "{result}"),
            }
        }
    }
}

async fn ten_deliveries_of_one_message_at_once_are_one_restart(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let mut held = Held::start(&ground).await;
    let push = PushMessage::now(&image, 0xaa);
    held.send(&[], push.body());
    held.arrived.notified().await;
    for _ in 1..10 {
        held.send(&[], push.body());
    }
    let answers = held.answers().await;
    assert_eq!(result_of(&answers[0], &web)["action"], "restarted");
    for answer in &answers[1..] {
        assert_eq!(result_of(answer, &web)["code"], "already_restarted", "{answer}");
    }
    assert_eq!(ground.generation(&web).await, 2);
}

/// Each of them may be another, so each restarts. A restart is for all others, too.
async fn pushes_without_a_place_in_the_order_are_not_lost_in_a_storm(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let mut held = Held::start(&ground).await;
    let json_body = &[("content-type", "application/json")];
    let bare = |byte: u8| PushMessage::now(&image, byte).payload().to_string();
    let ordered = [0xa1, 0xa2, 0xa3].map(|byte| PushMessage::now(&image, byte));
    let ordered = [0, 1, 2].map(|number: usize| {
        let published = ordered[2].published - SignedDuration::from_secs(2 - i64::try_from(number).unwrap());
        PushMessage { published, ..ordered[number].clone() }
    });
    held.send(json_body, bare(0xb1));
    held.arrived.notified().await;
    for body in [bare(0xb2), ordered[0].body(), bare(0xb3), ordered[2].body(), ordered[1].body()] {
        held.send(json_body, body);
    }
    let results: Vec<Value> = held.answers().await.iter().map(|answer| result_of(answer, &web)).collect();
    for bare in [0, 1, 3] {
        assert_eq!(results[bare]["code"], "runs_image", "{results:#?}");
        assert!(!results[bare]["reason"].as_str().unwrap().contains("newer"), "{results:#?}");
    }
    let restarted = results.iter().filter(|result| result["action"] == "restarted").count();
    // The next restart is for all others that have a place, whether one of them makes it or one without a place.
    assert!((3..=4).contains(&restarted), "{results:#?}");
    assert_eq!(ground.generation(&web).await, 1 + restarted as i64);
    let again = held.service.push(&ordered[2]).await.json();
    assert_eq!(result_of(&again, &web)["code"], "already_restarted", "{again}");
}
