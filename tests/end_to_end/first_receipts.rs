//! What a message says of itself counts only where Pub/Sub vouches for it: which deliveries are of one message, and that
//! its publish time is of Pub/Sub's clock.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{Answer, send};
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(what_is_no_redelivery_is_scanned_for);
    suite.on_both(a_redelivery_needs_no_scan_of_its_own);
    suite.on_both(a_replay_does_not_vouch_for_the_publishers_clock);
}

/// Nothing published so long ago shows that the clocks agree.
fn five_minutes_ago() -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(5)
}

/// Where a delivery goes.
#[derive(Debug, Clone, Copy)]
enum Door {
    Public,
    Replay,
    DryRun,
}

async fn deliver(service: &Service, door: Door, body: &Value) -> Answer {
    let url = match door {
        Door::Public => format!("{}/v1/push", service.public),
        Door::Replay => format!("{}/v1/push", service.admin),
        Door::DryRun => format!("{}/v1/push?dry_run=true", service.admin),
    };
    send(Method::POST, &url, &[("content-type", "application/json")], body.to_string()).await
}

/// A message's body without one of these, or with another value in its place.
fn changed(body: &Value, change: &[(&str, Value)]) -> Value {
    let mut body = body.clone();
    for (pointer, value) in change {
        *body.pointer_mut(pointer).unwrap() = value.clone();
    }
    body
}

/// One delivery; then a workload is created; then another delivery, which must find it.
async fn what_is_no_redelivery_is_scanned_for(ground: Ground) {
    let service = ground.service().start_ready().await;
    let no_time = [("/message/publishTime", Value::Null), ("/message/publish_time", Value::Null)];
    let next_year = json!(Timestamp::now() + SignedDuration::from_hours(24 * 365));
    let next_year = [("/message/publishTime", next_year)];
    let cases = [
        ("no publish time", &no_time[..], &no_time[..], Door::Public),
        ("a time from the future", &next_year, &next_year, Door::Public),
        ("no subscription", &[("/subscription", Value::Null)], &[("/subscription", Value::Null)], Door::Public),
        ("another subscription", &[("/subscription", json!("projects/p/subscriptions/t"))], &[], Door::Public),
        ("another time", &[("/message/publishTime", json!(five_minutes_ago()))], &[], Door::Public),
        ("another id", &[("/message/messageId", json!("1"))], &[], Door::Public),
        ("a dry run", &[], &[], Door::DryRun),
        ("a replay", &[], &[], Door::Replay),
    ];
    for (number, (what, first, second, door)) in cases.into_iter().enumerate() {
        let name = format!("web-{number}");
        let image = ground.image(&name);
        let message = PushMessage { published: five_minutes_ago(), ..PushMessage::now(&image, 1) };
        let body: Value = serde_json::from_str(&message.body()).unwrap();
        let answer = deliver(&service, door, &changed(&body, first)).await;
        let outcome = if matches!(door, Door::DryRun) { "dry_run" } else { "not_in_use" };
        assert_eq!(answer.json()["outcome"], outcome, "{what}: {}", answer.text());

        let young = deployment(ground.namespace(), &name, &image);
        ground.create(&young).await;
        let answer = deliver(&service, Door::Public, &changed(&body, second)).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        assert_eq!(answer.json()["outcome"], "restarted", "{what}: {}", answer.text());
        assert_eq!(ground.generation(&young).await, 2, "{what}");
    }
}

async fn a_redelivery_needs_no_scan_of_its_own(ground: Ground) {
    let service = ground.service().start_ready().await;
    let message = PushMessage { published: five_minutes_ago(), ..PushMessage::now(&ground.image("web"), 1) };
    let lists = || service.api_calls().iter().filter(|call| call.verb == "list").count();
    assert_eq!(service.push(&message).await.json()["outcome"], "not_in_use");
    let scanned = lists();
    let again = service.push(&message).await.json();
    assert_eq!((&again["outcome"], &again["source"]["authoritative"]), (&json!("not_in_use"), &json!(true)), "{again}");
    assert_eq!(lists(), scanned);
}

/// What a person sends may have been published, or made up, by any clock.
async fn a_replay_does_not_vouch_for_the_publishers_clock(ground: Ground) {
    for door in [Door::Replay, Door::DryRun] {
        let service = ground.service().start_ready().await;
        let prompt = PushMessage::now(&ground.image("unknown"), 1);
        let answer = deliver(&service, door, &serde_json::from_str(&prompt.body()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());

        let name = format!("{door:?}").to_lowercase();
        let image = ground.image(&name);
        let young = deployment(ground.namespace(), &name, &image);
        ground.create(&young).await;
        let published = five_minutes_ago();
        let answer = service.push(&PushMessage { published, ..PushMessage::now(&image, 1) }).await.json();
        assert_eq!(answer["outcome"], "restarted", "{door:?}: {answer}");
    }
}
