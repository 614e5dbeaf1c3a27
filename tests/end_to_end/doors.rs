//! The doors themselves: which listener has what, and what is said at a door that is not there.

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{get, send};
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_rolls_the_workloads_that_run_the_image);
    suite.on_embedded(a_listener_on_any_address_takes_both_families);
    suite.on_embedded(each_listener_has_its_own_endpoints_and_no_other);
    suite.on_both(the_internal_listener_never_calls_the_api_server);
}

async fn a_push_rolls_the_workloads_that_run_the_image(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let service = ground.service().start_ready().await;

    let answer = service.push(&PushMessage::now(&image, 0xaa)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    assert_eq!(answer["workloads"][0]["name"], json!("web"));
    assert_eq!(ground.generation(&web).await, 2);
    let metrics = get(&format!("{}/metrics", service.internal)).await.text();
    assert!(metrics.contains("pushroll_pushes_total{outcome=\"restarted\"} 1"), "{metrics}");
}

async fn a_listener_on_any_address_takes_both_families(ground: Ground) {
    let arguments = ["--listen", "[::]:0", "--internal-listen", "[::]:0"];
    let service = ground.service().arguments(arguments).start_ready_at(|url| url.replace("[::]", "127.0.0.1")).await;
    let families: &[&str] =
        if std::net::TcpListener::bind("[::1]:0").is_ok() { &["127.0.0.1", "[::1]"] } else { &["127.0.0.1"] };
    for address in families {
        let at = |url: &str| url.replace("127.0.0.1", address);
        assert_eq!(get(&format!("{}/livez", at(&service.internal))).await.status, 200, "{address}");
        let push = send(Method::POST, &format!("{}/v1/push", at(&service.public)), &[], "junk").await;
        assert_eq!(push.status, 400, "{address}: {}", push.text());
    }
}

/// Every path, its method, and whether public, internal and admin have it.
const ENDPOINTS: [(&str, &str, [bool; 3]); 10] = [
    ("/v1/push", "POST", [true, false, true]),
    ("/livez", "GET", [false, true, false]),
    ("/readyz", "GET", [false, true, false]),
    ("/metrics", "GET", [false, true, false]),
    ("/v1/lookup", "GET", [false, true, true]),
    ("/v1/explain", "GET", [false, false, true]),
    ("/v1/status", "GET", [false, true, true]),
    ("/v1/rollouts", "GET", [false, true, true]),
    ("/v1/rebuild", "POST", [false, false, true]),
    ("/openapi.yaml", "GET", [false, true, true]),
];
const ELSEWHERE: [&str; 9] =
    ["/", "/v1", "/v1/push/", "/v1/push/x", "//v1/push", "/V1/push", "/healthz", "/debug/pprof", "/v1/../livez"];

fn listeners(service: &Service) -> [&str; 3] {
    [&service.public, &service.internal, &service.admin]
}

async fn each_listener_has_its_own_endpoints_and_no_other(ground: Ground) {
    let service = ground.service().start_ready().await;
    for (path, method, has_it) in ENDPOINTS {
        for (listener, has_it) in listeners(&service).into_iter().zip(has_it) {
            let url = format!("{listener}{path}");
            for tried in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
                let answer = send(tried.clone(), &url, &[], "").await;
                if !has_it {
                    answer.problem(404);
                } else if tried == method {
                    assert!(![404, 405].contains(&answer.status.as_u16()), "{tried} {url}: {}", answer.text());
                } else {
                    answer.problem(405);
                    let allowed: BTreeSet<_> = answer.headers["allow"].to_str().unwrap().split(',').collect();
                    let expected =
                        if method == "GET" { BTreeSet::from(["GET", "HEAD"]) } else { BTreeSet::from([method]) };
                    assert_eq!(allowed, expected, "{tried} {url}");
                }
            }
        }
    }
    for listener in listeners(&service) {
        for path in ELSEWHERE {
            for method in [Method::GET, Method::POST] {
                send(method, &format!("{listener}{path}"), &[], "").await.problem(404);
            }
        }
    }
}

async fn the_internal_listener_never_calls_the_api_server(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let service = ground.service().start_ready().await;
    // A rebuild ends with its write: nothing is under way after it.
    assert_eq!(send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await.status, 200);
    let before = service.api_calls().len();
    for path in ["/livez", "/readyz?verbose", "/metrics", "/v1/status", "/openapi.yaml"] {
        assert_eq!(get(&format!("{}{path}", service.internal)).await.status, 200, "{path}");
    }
    for (image, workloads) in [(image.as_str(), 1), ("nobodys:1", 0)] {
        let answer = get(&format!("{}/v1/lookup?image={image}", service.internal)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((answer["workloads"].as_array().unwrap().len(), &answer["image"]), (workloads, &json!(image)));
        assert_eq!((&answer["source"]["tier"], answer["source"]["authoritative"].is_boolean()), (&json!("scan"), true));
    }
    assert_eq!(service.api_calls()[before..], []);
}
