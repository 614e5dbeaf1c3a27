//! Bad days: the API server is away. The push comes again, and the job is done once.

mod certificate;
mod killed;
mod passing;
mod pulled;

use std::path::PathBuf;

use embedded_kubernetes::Outage;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use super::probes::probe;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    certificate::tests(suite);
    killed::tests(suite);
    passing::tests(suite);
    pulled::tests(suite);
    suite.on_embedded(a_push_during_an_outage_comes_again_and_is_done_once);
    suite.on_embedded(a_service_that_starts_in_an_outage_lives_on_its_mount);
    suite.on_embedded(a_miss_during_an_outage_comes_again);
}

async fn lookup(service: &Service, image: &str) -> Value {
    let answer = get(&format!("{}/v1/lookup?image={image}", service.internal)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Not done yet: a 503 that says so, and says when to come again.
async fn is_nacked(service: &Service, message: &PushMessage) -> Value {
    let answer = service.push(message).await;
    let problem = answer.problem(503);
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().is_ok_and(|seconds| seconds > 0));
    assert_eq!((&problem["outcome"], &problem["image"]), (&json!("failed"), &json!(message.image)), "{problem}");
    problem
}

async fn a_push_during_an_outage_comes_again_and_is_done_once(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    // Long enough to see the answer of the API server, short enough to wait for one that never comes.
    let service = ground.service().arguments(["--hold", "500ms"]).start_ready().await;
    for (number, outage) in [Outage::Status(503), Outage::Hang, Outage::Status(500)].into_iter().enumerate() {
        let message = PushMessage::now(&image, u8::try_from(number).unwrap());
        ground.embedded_kubernetes().set_outage(Some(outage));
        for _ in 0..2 {
            let problem = is_nacked(&service, &message).await;
            assert_eq!(problem["workloads"][0]["action"], "failed", "{outage:?}: {problem}");
        }
        assert_eq!(probe(&service, "/readyz").await.0, 200);
        assert_eq!(lookup(&service, &image).await["workloads"][0]["name"], "web");

        ground.embedded_kubernetes().set_outage(None);
        // What hung may be handled now, as late as it is: the delivery says `restarted` or finds it done.
        let outcome = loop {
            let answer = service.push(&message).await;
            if answer.status == 200 {
                break answer.json()["outcome"].clone();
            }
            answer.problem(503);
        };
        assert!(outcome == "restarted" || outcome == "current" && outage == Outage::Hang, "{outage:?}: {outcome}");
        assert_eq!(service.push(&message).await.json()["outcome"], "current");
        assert_eq!(ground.generation(&web).await, i64::try_from(number).unwrap() + 2, "{outage:?}");
    }
}

async fn a_miss_during_an_outage_comes_again(ground: Ground) {
    let service = ground.service().start_ready().await;
    let message = PushMessage::now(&ground.image("nobodys"), 1);
    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    let problem = is_nacked(&service, &message).await;
    assert_eq!((&problem["code"], &problem["workloads"]), (&json!("not_proven"), &json!([])), "{problem}");
    ground.embedded_kubernetes().set_outage(None);
    assert_eq!(service.push(&message).await.json()["outcome"], "not_in_use");
}

/// A kubeconfig of the ground with another server in it.
fn kubeconfig_at(ground: &Ground, server: &str) -> PathBuf {
    let mut kubeconfig = Kubeconfig::read_from(ground.kubeconfig("somebody")).unwrap();
    kubeconfig.clusters[0].cluster.as_mut().unwrap().server = Some(server.to_owned());
    let path = ground.directory().join("elsewhere.kubeconfig");
    std::fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
    path
}

async fn a_service_that_starts_in_an_outage_lives_on_its_mount(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let mount = ground.directory().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let document = json!({"images": {&image: [{"name": "web", "namespace": ground.namespace()}]}});
    std::fs::write(mount.join("cache.json"), document.to_string()).unwrap();

    // A port that is taken and that nobody listens on: connections to it are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let kubeconfig = kubeconfig_at(&ground, &format!("http://{}", socket.local_addr().unwrap()));
    let service = ground.service().mount(&mount).kubeconfig(&kubeconfig).start_ready().await;
    assert_eq!(lookup(&service, &image).await["source"]["tier"], "mount");

    let message = PushMessage::now(&image, 1);
    let problem = is_nacked(&service, &message).await;
    assert_eq!(
        (&problem["workloads"][0]["code"], &problem["source"]["tier"]),
        (&json!("unreachable"), &json!("mount")),
        "{problem}"
    );
    assert!(problem["detail"].as_str().unwrap().contains("cannot be reached"), "{problem}");
    assert_eq!((probe(&service, "/readyz").await.0, probe(&service, "/livez").await.0), (200, 200));
    assert_eq!(ground.generation(&web).await, 1);

    let listener: TcpListener = socket.listen(64).unwrap();
    tokio::spawn(ground.embedded_kubernetes().clone().serve(listener, std::future::pending()));
    assert_eq!(service.push(&message).await.json()["outcome"], "restarted");
    assert_eq!(service.push(&message).await.json()["outcome"], "current");
    assert_eq!(ground.generation(&web).await, 2);
}
