//! The API server has a new certificate.

use serde_json::Value;
use tokio::sync::watch;

use crate::probes::probe;
use crate::support::certificates::Authority;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_new_certificate_of_the_same_authority_is_taken);
    suite.on_both(another_authority_is_not_trusted_before_the_next_start);
}

async fn acked(service: &Service, message: &PushMessage) -> Value {
    eventually("the push is acknowledged", async || {
        let answer = service.push(message).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await
}

async fn a_new_certificate_of_the_same_authority_is_taken(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let authority = Authority::new("kubernetes");
    let proxy = ApiProxy::start(&ground, |_| std::future::ready(Passage::Forward)).await;
    proxy.present(authority.new_server());
    proxy.trust(&authority);
    for (number, watching) in [&[][..], &["--watch"]].into_iter().enumerate() {
        let mut service = ground.service().through(&proxy).arguments(["--namespaces", ground.namespace()]);
        for flag in watching {
            service = service.arguments([*flag]);
        }
        let service = service.start_ready().await;
        for round in 0..3 {
            let message = PushMessage::now(&image, round + 1);
            acked(&service, &message).await;
            assert_eq!(service.push(&message).await.json()["outcome"], "current");
            let expected = 2 + i64::from(round) + 3 * i64::try_from(number).unwrap();
            assert_eq!(ground.generation(&web).await, expected, "{watching:?}");
            proxy.present(authority.new_server());
        }
        if !watching.is_empty() {
            let is_live = |status: &Value| status["tiers"]["watch"]["live"] == true;
            service.wait_for_status("the watch goes on", is_live).await;
        }
    }
}

async fn another_authority_is_not_trusted_before_the_next_start(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let [first, second] = ["the first", "the second"].map(Authority::new);
    let (before, after) = (first.new_server(), second.new_server());
    let calls = watch::Sender::new(0);
    let counter = calls.clone();
    let proxy = ApiProxy::start(&ground, move |_| {
        counter.send_modify(|calls| *calls += 1);
        std::future::ready(Passage::Forward)
    });
    let proxy = proxy.await;
    proxy.present(before);
    proxy.trust(&first);
    let service = ground.service().through(&proxy).start_ready().await;
    acked(&service, &PushMessage::now(&image, 1)).await;

    proxy.present(after);
    proxy.trust(&second);
    let message = PushMessage::now(&image, 2);
    let before = *calls.borrow();
    for _ in 0..3 {
        let answer = service.push(&message).await;
        let problem = answer.problem(503);
        assert_eq!(problem["workloads"][0]["code"], "unreachable", "{problem}");
        assert!(problem["detail"].to_string().contains("certificate"), "{problem}");
    }
    assert_eq!(*calls.borrow(), before, "nothing is said to somebody who is not known");
    // A restart would help, and nobody else can tell that it is not the network: but the mount still answers.
    assert_eq!(probe(&service, "/readyz").await.0, 200);
    assert_eq!(ground.generation(&web).await, 2);

    let anew = ground.service().through(&proxy).start_ready().await;
    assert_eq!(acked(&anew, &message).await["outcome"], "restarted");
    assert_eq!(ground.generation(&web).await, 3);
    // As where the authority's file has both, or the old certificate is back.
    proxy.present(first.new_server());
    assert_eq!(acked(&service, &message).await["outcome"], "current");
}
