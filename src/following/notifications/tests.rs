use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::cluster::WorkloadObject;
use crate::notify::{NotifyArgs, NotifyMetrics};
use crate::rollout::{OurRestart, RESTARTED_AT_ANNOTATION};
use crate::workload::WorkloadKind;

#[test]
fn a_rollout_under_way_wakes_nobody_when_it_is_settled() {
    let sinks = vec!["chat=slack:/nonexistent".parse().unwrap()];
    let args = NotifyArgs { sinks, ..NotifyArgs::default() };
    let (notifier, _queues) = Notifier::new(args, Clock::system(), NotifyMetrics::default());
    let mut notifications = Notifications::new(notifier, &FollowingArgs::default());
    let (now, pause) = (Instant::now(), FollowingArgs::default().settle);
    let workload = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
    let mut followed = under_way(now);
    notifications.note(&workload, &mut followed, now);
    assert_eq!(notifications.next(now), Some(now + pause));
    assert_eq!(notifications.next(now + pause), None);
    notifications.note(&workload, &mut followed, now + pause);
    assert_eq!(notifications.next(now + pause), None, "nothing has changed");
}

fn under_way(now: Instant) -> Followed {
    let restarted_at = "2026-11-27T20:10:00Z";
    let record =
        json!({"a.example/web:1": {"message_id": "7", "published": restarted_at, "restarted_at": restarted_at}});
    let annotations = json!({RESTARTED_AT_ANNOTATION: restarted_at, "pushroll.dev/pushes": record.to_string()});
    let object = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": {}}},
    });
    let object: WorkloadObject = serde_json::from_value(object).unwrap();
    let restart = OurRestart::of(&object, None, Timestamp::now()).unwrap();
    Followed::new(&WorkloadRef::new("shop", WorkloadKind::Deployment, "web"), &object, restart, now)
}
