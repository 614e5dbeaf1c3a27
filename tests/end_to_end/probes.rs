//! Probes that tell the truth: alive is not ready, and neither is "the API server is there".

use std::collections::BTreeSet;
use std::path::Path;

use pushroll::embedded::Outage;

use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_service_on_an_empty_cluster_becomes_ready);
    suite.plain(every_metric_is_described);
    suite.on_embedded(a_service_without_an_index_is_alive_and_not_ready);
    suite.on_embedded(an_api_server_that_is_away_makes_nothing_unready);
}

/// Status and text of a probe.
pub async fn probe(service: &Service, path: &str) -> (u16, String) {
    let answer = get(&format!("{}{path}", service.internal)).await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    (answer.status.as_u16(), answer.text())
}

async fn a_service_on_an_empty_cluster_becomes_ready(ground: Ground) {
    // A namespace that nothing ever runs in.
    let empty = ground.another_namespace("empty").await;
    let service = ground.service().arguments(["--namespaces", &empty]).start_ready().await;
    assert_eq!(probe(&service, "/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(probe(&service, "/livez").await, (200, "ok\n".to_owned()));
    let verbose = "[+]index ok\n[+]shutdown ok\ncheck passed\n";
    for query in ["?verbose", "?verbose=true", "?x&verbose"] {
        assert_eq!(probe(&service, &format!("/readyz{query}")).await, (200, verbose.to_owned()), "{query}");
    }
    assert_eq!(probe(&service, "/livez?verbose").await, (200, "[+]mount-poller ok\ncheck passed\n".to_owned()));
    let status = service.status().await;
    assert_eq!((&status["ready"], &status["index"]["workloads"]), (&true.into(), &0.into()), "{status}");
    assert!(status.get("not_ready_because").is_none(), "{status}");
}

async fn a_service_without_an_index_is_alive_and_not_ready(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    for outage in [Outage::Hang, Outage::Status(503)] {
        ground.embedded_kubernetes().set_outage(Some(outage));
        let service = ground.service().start().await;
        let not_ready = "[-]index failed: no index is loaded yet\n[+]shutdown ok\ncheck failed\n";
        assert_eq!(probe(&service, "/readyz").await, (503, not_ready.to_owned()), "{outage:?}");
        assert_eq!(probe(&service, "/livez").await, (200, "ok\n".to_owned()), "{outage:?}");
        let status = service.status().await;
        assert_eq!((&status["ready"], &status["not_ready_because"]), (&false.into(), &"no index is loaded yet".into()));
        get(&format!("{}/v1/lookup?image={image}", service.internal)).await.problem(503);

        ground.embedded_kubernetes().set_outage(None);
        service.wait_until_ready().await;
        assert_eq!(get(&format!("{}/v1/lookup?image={image}", service.internal)).await.status, 200);
    }
}

async fn an_api_server_that_is_away_makes_nothing_unready(ground: Ground) {
    let service = ground.service().arguments(["--refresh-interval", "10ms"]).start_ready().await;
    for code in [503, 401] {
        ground.embedded_kubernetes().set_outage(Some(Outage::Status(code)));
        let saw = |status: &serde_json::Value| status["tiers"]["configmap"]["error"].is_string();
        service.wait_for_status("a round has failed", saw).await;
        assert_eq!(probe(&service, "/readyz").await, (200, "ok\n".to_owned()), "{code}");
        assert_eq!(probe(&service, "/livez").await, (200, "ok\n".to_owned()), "{code}");
        ground.embedded_kubernetes().set_outage(None);
        service.wait_for_status("a scan works again", |status| !saw(status)).await;
    }
}

/// In docs/metrics.md, and nothing else is. A metric without a value yet is not shown, so the source has to tell.
async fn every_metric_is_described() {
    let mut registered = BTreeSet::new();
    add_metrics_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut registered);
    let table = include_str!("../../docs/metrics.md").split_once("| metric |").unwrap().1;
    let described = table.split('`').skip(1).step_by(2).filter(|name| name.starts_with("pushroll_"));
    assert_eq!(described.map(str::to_owned).collect::<BTreeSet<_>>(), registered);
}

/// The names of the metrics that the source files of a folder register.
fn add_metrics_of(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_metrics_of(&path, names);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let registered = text.split("registry.register(").skip(1).filter_map(|rest| rest.split('"').nth(1));
            names.extend(registered.map(|name| format!("pushroll_{name}")));
        }
    }
}
