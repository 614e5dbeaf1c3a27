//! The API server is away: the mount answers, pushes come again, and nothing is lost.

use embedded_kubernetes::Outage;
use serde_json::json;

use crate::support::documents::{document, names};
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(the_mount_alone_makes_serve_ready);
    suite.on_embedded(serve_without_an_index_waits_for_the_api_server);
    suite.on_embedded(a_push_while_the_api_server_is_away_comes_again);
}

const OUTAGES: [Outage; 5] =
    [Outage::Hang, Outage::Status(503), Outage::Status(500), Outage::Status(429), Outage::Status(401)];

async fn the_mount_alone_makes_serve_ready(ground: Ground) {
    let image = ground.image("web");
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &[&deployment(ground.namespace(), "web", &image)])]));
    for outage in OUTAGES {
        ground.embedded_kubernetes().set_outage(Some(outage));
        let service = ground.service().mount(volume.directory()).start_ready().await;
        let found = service.lookup(&image).await;
        assert_eq!((names(&found), &found["source"]["tier"]), (vec!["web".to_owned()], &json!("mount")), "{outage:?}");
    }
}

async fn serve_without_an_index_waits_for_the_api_server(ground: Ground) {
    for outage in [Outage::Status(503), Outage::Status(403), Outage::Status(401)] {
        ground.embedded_kubernetes().set_outage(Some(outage));
        let service = ground.service().start().await;
        let knows = |status: &serde_json::Value| status["tiers"]["configmap"]["error"].is_string();
        let status = service.wait_for_status("the round has failed", knows).await;
        assert_eq!(status["not_ready_because"], "no index is loaded yet", "{outage:?}");
        let ready = get(&format!("{}/readyz", service.internal)).await;
        assert_eq!(ready.status, 503, "{outage:?}: {}", ready.text());
        assert_eq!(get(&format!("{}/livez", service.internal)).await.status, 200, "{outage:?}");
        let lookup = get(&format!("{}/v1/lookup?image=web", service.internal)).await;
        assert!(lookup.status == 503 && lookup.headers.contains_key("retry-after"), "{outage:?}: {}", lookup.text());

        ground.embedded_kubernetes().set_outage(None);
        service.wait_until_ready().await;
    }
}

async fn a_push_while_the_api_server_is_away_comes_again(ground: Ground) {
    for (number, outage) in OUTAGES.into_iter().enumerate() {
        let (image, name) = (ground.image(&format!("web-{number}")), format!("web-{number}"));
        let web = deployment(ground.namespace(), &name, &image);
        ground.create(&web).await;
        let mut volume = ground.volume();
        volume.show(&document(&[(&image, &[&web])]));
        let service = ground.service().arguments(["--hold", "1s"]).mount(volume.directory()).start_ready().await;
        ground.embedded_kubernetes().set_outage(Some(outage));
        let messages = [PushMessage::now(&image, 1), PushMessage::now(&ground.image("unknown"), 1)];
        for message in &messages {
            let answer = service.push(message).await;
            assert_eq!(answer.status, 503, "{outage:?}: {}", answer.text());
            assert!(answer.headers.contains_key("retry-after"), "{outage:?}");
            assert_eq!(answer.json()["outcome"], "failed", "{outage:?}");
        }
        assert_eq!(get(&format!("{}/readyz", service.internal)).await.status, 200, "{outage:?}");
        assert_eq!(names(&service.lookup(&image).await), [&*name], "{outage:?}");

        ground.embedded_kubernetes().set_outage(None);
        for message in &messages {
            eventually("the next delivery finishes the job", async || {
                (service.push(message).await.status == 200).then_some(())
            })
            .await;
        }
        assert_eq!(ground.generation(&web).await, 2, "{outage:?}");
    }
}
