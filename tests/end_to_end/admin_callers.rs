//! The admin listener has no token: it is for programs on the same machine, and for no page in a browser on it.

use http::Method;

use crate::support::command::run;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::send;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(a_page_in_a_browser_cannot_call_the_admin_listener);
    suite.on_embedded(the_other_listeners_have_any_host);
    suite.plain(the_admin_listener_is_on_loopback_unless_told);
    suite.on_embedded(a_remote_admin_listener_has_any_host_and_no_page);
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// What a page makes a browser send, wherever the admin listener is.
const OF_PAGES: [Headers<'_>; 7] = [
    &[("origin", "https://evil.example")],
    &[("origin", "http://localhost:3000")],
    &[("origin", "null")],
    &[("origin", "http://evil.example"), ("content-type", "text/plain")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
];

const PATHS: [(Method, &str); 8] = [
    (Method::POST, "/v1/push"),
    (Method::POST, "/v1/rebuild"),
    (Method::GET, "/v1/explain?image=nginx"),
    (Method::GET, "/v1/lookup?image=nginx"),
    (Method::GET, "/v1/status"),
    (Method::GET, "/v1/rollouts"),
    (Method::GET, "/openapi.yaml"),
    (Method::OPTIONS, "/v1/push"),
];

async fn a_page_in_a_browser_cannot_call_the_admin_listener(ground: Ground) {
    let service = ground.service().start_ready().await;
    eventually("the start is over", async || ground.cache_document().await).await;
    let port = service.admin.rsplit_once(':').unwrap().1;
    let calls = service.api_calls().len();
    let named: Vec<String> =
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "user@localhost"]
            .map(|name| format!("{name}:{port}"))
            .into();
    let rebound: Vec<[(&str, &str); 1]> = named.iter().map(|host| [("host", host.as_str())]).collect();
    for headers in OF_PAGES.into_iter().chain(rebound.iter().map(|headers| &headers[..])) {
        for (method, path) in PATHS {
            let body = PushMessage::now(&ground.image("web"), 1).body();
            send(method, &format!("{}{path}", service.admin), headers, body).await.problem(403);
        }
    }
    assert_eq!(service.api_calls()[calls..], []);
    assert_eq!(service.status().await["recent"], serde_json::json!([]));

    // What kubectl port-forward, curl and the service's own pages are called by, if it had any.
    let (name, address) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
    let origin = format!("http://{name}");
    let own: [Headers<'_>; 9] = [
        &[],
        &[("host", &name)],
        &[("host", &address)],
        &[("host", "LOCALHOST")],
        &[("host", "localhost:9091")],
        &[("host", "[::1]:9091")],
        &[("host", "[::1]")],
        &[("host", &name), ("origin", &origin), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ];
    for headers in own {
        let answer = send(Method::GET, &format!("{}/v1/status", service.admin), headers, "").await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    }
}

async fn the_other_listeners_have_any_host(ground: Ground) {
    let service = ground.service().start_ready().await;
    let host = [("host", "pushroll.example.com")];
    let body = PushMessage::now(&ground.image("nobodys"), 1).body();
    assert_eq!(send(Method::POST, &format!("{}/v1/push", service.public), &host, body).await.status, 200);
    assert_eq!(send(Method::GET, &format!("{}/v1/status", service.internal), &host, "").await.status, 200);
}

async fn the_admin_listener_is_on_loopback_unless_told() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9091"] {
        let ran = run(&["serve", "--insecure-no-auth", "--admin-listen", address]).await;
        let message = ran.failed_with_one_sentence();
        assert!(message.contains(address) && message.contains("--admin-insecure-remote"), "{message}");
    }
    // Beyond it: that there is no Kubernetes is the next to be said.
    for address in ["127.0.0.1:0", "[::1]:0", "127.0.0.2:0", "[::ffff:127.0.0.1]:0"] {
        let ran = run(&["serve", "--insecure-no-auth", "--admin-listen", address, "--kubeconfig", "/nowhere"]).await;
        assert!(ran.failed_with_one_sentence().contains("/nowhere"), "{ran:?}");
    }
}

/// On all addresses the service does not know what it is called.
async fn a_remote_admin_listener_has_any_host_and_no_page(ground: Ground) {
    let remote = ["--admin-listen", "0.0.0.0:0", "--admin-insecure-remote"];
    let service = ground.service().arguments(remote).start_ready().await;
    let url = format!("{}/v1/status", service.admin.replace("0.0.0.0", "127.0.0.1"));
    assert_eq!(send(Method::GET, &url, &[("host", "pushroll.example.com")], "").await.status, 200);
    for headers in OF_PAGES {
        send(Method::GET, &url, headers, "").await.problem(403);
    }
    assert_eq!(service.warned("--admin-insecure-remote").await, 1);
}
