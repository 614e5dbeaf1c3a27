//! Clocks that disagree: the API server's, this machine's and Pub/Sub's. Nothing is missed, whoever is wrong.

use jiff::{SignedDuration, Timestamp};
use pushroll::clock::Clock;
use serde_json::{Value, json};

use crate::support::documents::{names, scanned_document};
use crate::support::fixtures::{PushMessage, config_map, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(nothing_is_missed_when_our_clock_is_off);
    suite.on_embedded(nothing_is_missed_when_the_api_servers_clock_is_off);
    suite.on_both(a_clock_that_is_ahead_proves_nothing);
    suite.on_embedded(nothing_is_missed_when_a_clock_jumps);
    suite.on_both(a_document_from_the_future_is_of_unknown_age);
    suite.on_both(a_push_from_the_future_shuts_no_other_out);
    suite.on_both(a_record_from_the_future_shuts_no_push_out);
}

const OFFSETS: [i64; 2] = [5, -5];

async fn nothing_is_missed_when_our_clock_is_off(ground: Ground) {
    for ours in OFFSETS {
        // Pub/Sub agrees with the API server, or with us.
        for pubsub in [0, ours] {
            nothing_is_missed(&ground, ours, 0, pubsub).await;
        }
    }
}

async fn nothing_is_missed_when_the_api_servers_clock_is_off(ground: Ground) {
    for servers in OFFSETS {
        for pubsub in [0, servers] {
            ground.embedded_kubernetes().set_clock_offset(SignedDuration::from_mins(servers));
            nothing_is_missed(&ground, 0, servers, pubsub).await;
        }
    }
}

/// With clocks that are ahead by so many minutes: an index is scanned, a workload is created, its image is pushed.
async fn nothing_is_missed(ground: &Ground, ours: i64, servers: i64, pubsub: i64) {
    let what = format!("ours {ours}, the API server's {servers}, Pub/Sub's {pubsub}");
    let name = format!("w{ours}-s{servers}-p{pubsub}").replace("--", "-minus-").replace("w-", "w-minus-");
    let image = ground.image(&name);
    let clock = Clock::ahead_by(SignedDuration::from_mins(ours));
    let service = ground.service_in_process().clock(clock).start_ready().await;
    eventually("the scan is written", async || ground.cache_document().await).await;
    let young = deployment(ground.namespace(), &name, &image);
    ground.create(&young).await;
    for (byte, message) in [1, 2].map(|byte| (byte, PushMessage::now(&image, byte))) {
        let published = message.published + SignedDuration::from_mins(pubsub) + SignedDuration::from_secs(byte.into());
        let message = PushMessage { published, ..message };
        let answer = service.push(&message).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let answer = answer.json();
        assert_eq!((&answer["outcome"], names(&answer)), (&json!("restarted"), vec![name.clone()]), "{what}: {answer}");
        assert_eq!(ground.generation(&young).await, 1 + i64::from(byte), "{what}");
        let again = service.push(&message).await.json();
        assert_eq!(again["outcome"], "current", "{what}: {again}");
    }
}

/// Six minutes ago, by every clock but the API server's, which is five minutes ahead, a scan; then a workload; four
/// minutes ago the push, which is delivered again now: by their times the scan was later.
async fn a_clock_that_is_ahead_proves_nothing(ground: Ground) {
    let ours = if ground.is_control_plane() { SignedDuration::from_mins(-5) } else { SignedDuration::ZERO };
    if !ground.is_control_plane() {
        ground.embedded_kubernetes().set_clock_offset(SignedDuration::from_mins(5));
    }
    let ago = |minutes| Timestamp::now() + ours - SignedDuration::from_mins(minutes);
    let mut volume = ground.volume();
    volume.show(&scanned_document(ago(7), None, &[]));
    let service = ground.service_in_process().clock(Clock::ahead_by(ours)).mount(volume.directory());
    let service = service.start_ready().await;
    // From now on the API server's clock is known.
    let first = PushMessage { published: ago(4), ..PushMessage::now(&ground.image("unknown"), 1) };
    assert_eq!(service.push(&first).await.json()["outcome"], "not_in_use");

    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    volume.show(&scanned_document(ago(1), None, &[]));
    service.wait_for_status("the mount is loaded", |status| status["index"]["tier"] == "mount").await;
    let message = PushMessage { published: ago(4), ..PushMessage::now(&image, 1) };
    let answer = service.push(&message).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn nothing_is_missed_when_a_clock_jumps(ground: Ground) {
    let service = ground.service().start_ready().await;
    let kubernetes = ground.embedded_kubernetes();
    for (number, minutes) in [5, 0, -5, 0].into_iter().enumerate() {
        kubernetes.set_clock_offset(SignedDuration::from_mins(minutes));
        let image = ground.image(&format!("web-{number}"));
        let young = deployment(ground.namespace(), &format!("web-{number}"), &image);
        ground.create(&young).await;
        let answer = service.push(&PushMessage::now(&image, 1)).await;
        assert_eq!(answer.status, 200, "jump to {minutes}: {}", answer.text());
        assert_eq!(answer.json()["outcome"], "restarted", "jump to {minutes}: {}", answer.text());
        assert_eq!(ground.generation(&young).await, 2, "jump to {minutes}");
    }
}

/// By hand, or from a clock that has been set right since.
async fn a_document_from_the_future_is_of_unknown_age(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    let future = scanned_document(next_year(), None, &[]);
    ground.create(&config_map(ground.namespace(), "deployment-image-cache", "cache.json", &future.to_string())).await;
    let mut volume = ground.volume();
    volume.show(&future);
    let service = ground.service().mount(volume.directory()).start_ready().await;
    ground.create(&web).await;

    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["outcome"], &answer["source"]["tier"]), (&json!("restarted"), &json!("scan")), "{answer}");
    let is_ours = |document: &Value| document["images"][&image].is_array();
    eventually("the scan takes its place", async || ground.cache_document().await.filter(is_ours)).await;
    // A document on the mount with a time that has passed is taken, too.
    volume.show(&scanned_document(Timestamp::now(), None, &[(&ground.image("newer"), &[&web])]));
    service.wait_for_lookup(&ground.image("newer"), &["web"]).await;
}

fn next_year() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * 365)
}

/// By somebody with a stolen token, or by a mistake in a replay.
async fn a_push_from_the_future_shuts_no_other_out(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;

    let future = PushMessage { published: next_year(), ..PushMessage::now(&image, 1) };
    let answer = service.push(&future).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert!(answer["warnings"].to_string().contains("more than an hour ahead"), "{answer}");

    let genuine = PushMessage::now(&image, 2);
    for (outcome, generation) in [("restarted", 3), ("current", 3)] {
        let answer = service.push(&genuine).await.json();
        assert_eq!(answer["outcome"], outcome, "{answer}");
        assert_eq!(ground.generation(&web).await, generation);
    }
}

async fn a_record_from_the_future_shuts_no_push_out(ground: Ground) {
    const RECORD: &str = "pushroll.dev/pushes";
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;
    assert_eq!(service.push(&PushMessage::now(&image, 1)).await.json()["outcome"], "restarted");
    let object = ground.get(&web).await;
    let record = object["spec"]["template"]["metadata"]["annotations"][RECORD].as_str().unwrap();
    let mut record: Value = serde_json::from_str(record).unwrap();
    for recorded in record.as_object_mut().unwrap().values_mut() {
        recorded["published"] = json!(next_year());
    }
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {RECORD: record.to_string()}}}}});
    ground.patch(&web, "somebody", patch).await;

    let genuine = PushMessage::now(&image, 2);
    for (outcome, generation) in [("restarted", 4), ("current", 4)] {
        let answer = service.push(&genuine).await.json();
        assert_eq!(answer["outcome"], outcome, "{answer}");
        assert_eq!(ground.generation(&web).await, generation);
    }
}
