//! Several sinks at once, over HTTP; and what `serve` shows of them.

use jiff::Timestamp;
use pushroll::clock::Clock;
use pushroll::notify::{Message, Notifier, NotifyArgs, NotifyMetrics, Outcome};
use tokio_util::sync::CancellationToken;

use super::{assert_no_secret, takes};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::sink::{Does, Sink};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.plain(a_sink_that_is_stuck_delays_no_other);
    suite.plain(a_target_file_that_comes_later_is_enough);
    suite.on_embedded(serve_shows_its_notifications_and_no_url);
}

/// Both halves of a notifier with these sinks, the second at work until the token is dropped.
fn notifier(sinks: &[String]) -> (Notifier, CancellationToken) {
    let sinks = sinks.iter().map(|sink| sink.parse().unwrap()).collect();
    let args = NotifyArgs { sinks, ..NotifyArgs::default() };
    let (notifier, queues) = Notifier::new(args, Clock::system(), NotifyMetrics::default());
    let end = CancellationToken::new();
    tokio::spawn(queues.run(end.clone()));
    (notifier, end)
}

async fn a_sink_that_is_stuck_delays_no_other() {
    let good = Sink::start(takes());
    let others = [
        Sink::start(Does::Hangs),
        Sink::start(Does::answer(429, "retry-after: 3600\r\n", "")),
        Sink::start(Does::Closes),
    ];
    let sinks: Vec<String> = [&good]
        .into_iter()
        .chain(&others)
        .enumerate()
        .map(|(number, sink)| format!("sink-{number}=slack:{}", sink.url))
        .collect();
    let (notifier, end) = notifier(&sinks);
    let message = |number| Message::test(&format!("sink-{number}"), Timestamp::now());
    let stuck: Vec<_> = (1..=3).map(|number| notifier.send(&message(number))).collect();
    for _ in 0..20 {
        assert_eq!(notifier.send(&message(0)).outcome().await, Outcome::Delivered);
    }
    assert_eq!(good.received().len(), 20);
    for (number, other) in others.iter().enumerate() {
        eventually(&format!("an attempt at sink {number}"), || async { (!other.received().is_empty()).then_some(()) })
            .await;
    }
    // A sink that is back gets what waited for it.
    others[2].now_does(takes());
    let [hangs, asks_to_wait, closed] = <[_; 3]>::try_from(stuck).unwrap();
    assert_eq!(closed.outcome().await, Outcome::Delivered);
    end.cancel();
    assert_eq!((hangs.outcome().await, asks_to_wait.outcome().await), (Outcome::Unfinished, Outcome::Unfinished));
}

async fn a_target_file_that_comes_later_is_enough() {
    let sink = Sink::start(takes());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    let (notifier, _end) = notifier(&[format!("chat=teams:{}", path.display())]);
    let delivery = notifier.send(&Message::test("chat", Timestamp::now()));
    std::fs::write(directory.path().join("new"), format!("{}\n", sink.url)).unwrap();
    std::fs::rename(directory.path().join("new"), &path).unwrap();
    assert_eq!(delivery.outcome().await, Outcome::Delivered);
    assert_eq!(sink.received().len(), 1);
}

async fn serve_shows_its_notifications_and_no_url(ground: Ground) {
    let sink = Sink::start(takes());
    let notify = format!("chat=slack:{},audit=cloudevents:/nonexistent/url", sink.url);
    let service = ground.service().arguments(["--notify", &notify, "-vv"]).start_ready().await;
    let metrics = get(&format!("{}/metrics", service.internal)).await.text();
    for name in ["chat", "audit"] {
        for result in ["delivered", "retried", "no_url", "refused", "given_up", "overflow"] {
            let line = format!("pushroll_notifications_total{{name=\"{name}\",result=\"{result}\"}} 0");
            assert!(metrics.contains(&line), "{line}: {metrics}");
        }
    }
    let is_warning = |line: &serde_json::Value| line["notification"] == "audit" && line["severity"] == "WARNING";
    let logged =
        eventually("the missing file in the log", || async { service.log().into_iter().find(is_warning) }).await;
    assert!(logged["message"].as_str().unwrap().contains("/nonexistent/url"), "{logged}");
    let status = service.status().await;
    assert_no_secret(&format!("{:?} {status} {metrics}", service.log()), &sink);
}
