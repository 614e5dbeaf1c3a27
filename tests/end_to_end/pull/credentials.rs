//! Credentials: the metadata server (Workload Identity), a service account file, and none.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::pulling;
use crate::support::ground::Ground;
use crate::support::pubsub_server::PubSubServer;
use crate::support::service::ServiceBuilder;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.with_pubsub(the_metadata_server_gives_the_token);
    suite.with_pubsub(a_service_account_file_signs_the_token);
    suite.with_pubsub(a_credentials_file_that_is_no_use_is_named);
    suite.with_pubsub(a_metadata_server_that_does_not_answer_is_named);
    suite.with_pubsub(a_token_that_is_refused_is_named);
}

/// With credentials, in the place of an emulator's without.
fn with_credentials(
    ground: &Ground,
    server: &PubSubServer,
    subscription: &str,
    environment: &[(&str, &str)],
) -> ServiceBuilder {
    // Whoever runs the tests may have credentials in HOME.
    let none = [("PUBSUB_EMULATOR_HOST", ""), ("HOME", "/nowhere")];
    let endpoint = format!("http://{}", server.address);
    pulling(ground, server, subscription)
        .environment(&none)
        .environment(environment)
        .arguments(["--pull-endpoint", &endpoint])
}

/// A metadata server that gives this token; its address.
async fn metadata_server(token: &'static str, asked: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            let answer = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                asked.lock().unwrap().push(path.clone());
                let body = if path.ends_with("/token") {
                    json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).to_string()
                } else {
                    "googleapis.com".to_owned()
                };
                let response = Response::builder()
                    .header("metadata-flavor", "Google")
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(body)));
                async move { response }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
        }
    });
    address
}

async fn the_metadata_server_gives_the_token(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.require_token("of-the-metadata-server").await;
    let asked = Arc::default();
    let address = metadata_server("of-the-metadata-server", Arc::clone(&asked)).await;
    let service =
        with_credentials(&ground, &server, &subscription, &[("GCE_METADATA_HOST", &address)]).start_ready().await;
    assert_eq!(server.calls().await["authorization"], "Bearer of-the-metadata-server");
    assert!(asked.lock().unwrap().iter().any(|path| path.ends_with("/service-accounts/default/token")));
    let shown = format!("{:?}{}", service.log(), service.status().await);
    assert!(!shown.contains("of-the-metadata-server"), "{shown}");
}

async fn a_service_account_file_signs_the_token(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let file = ground.directory().join("account.json");
    let account = json!({
        "type": "service_account",
        "project_id": "test-project",
        "private_key_id": "key-1",
        "private_key": pem(&key.serialize_der()),
        "client_email": "pushroll@test-project.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token",
    });
    std::fs::File::create(&file).unwrap().write_all(account.to_string().as_bytes()).unwrap();
    let path = file.to_str().unwrap();
    let service = with_credentials(&ground, &server, &subscription, &[("GOOGLE_APPLICATION_CREDENTIALS", path)])
        .start_ready()
        .await;
    let authorization = server.calls().await["authorization"].as_str().unwrap().to_owned();
    let claims = authorization.strip_prefix("Bearer ").unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["iss"], "pushroll@test-project.iam.gserviceaccount.com", "{claims}");
    let shown = format!("{:?}{}", service.log(), service.status().await);
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}

fn pem(der: &[u8]) -> String {
    let lines = STANDARD.encode(der).into_bytes();
    let lines: Vec<_> = lines.chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// The subscription is named with this reason.
async fn is_named(builder: ServiceBuilder, says: &[&str]) {
    let service = builder.start().await;
    let error =
        eventually("the reason is known", async || service.subscription().await["error"].as_str().map(str::to_owned))
            .await;
    assert!(says.iter().all(|says| error.contains(says)), "{error}");
    let is_named = |status: &Value| status["not_ready_because"].as_str().is_some_and(|why| why.contains(&error));
    service.wait_for_status("it is named", is_named).await;
}

async fn a_credentials_file_that_is_no_use_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let broken = ground.directory().join("broken.json");
    std::fs::write(&broken, "{\"private_key\": \"secret\"").unwrap();
    for path in ["/nowhere/account.json", broken.to_str().unwrap()] {
        let environment = [("GOOGLE_APPLICATION_CREDENTIALS", path)];
        let builder = with_credentials(&ground, &server, &subscription, &environment);
        is_named(builder, &["there are no credentials", "Workload Identity", "GOOGLE_APPLICATION_CREDENTIALS"]).await;
    }
}

async fn a_metadata_server_that_does_not_answer_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let builder = with_credentials(&ground, &server, &subscription, &[("GCE_METADATA_HOST", &address)]);
    is_named(builder, &["there are no credentials", "Workload Identity"]).await;
}

async fn a_token_that_is_refused_is_named(ground: Ground, server: PubSubServer) {
    let topic = server.topic().await;
    let subscription = server.subscription(&topic, json!({})).await;
    server.require_token("another").await;
    let address = metadata_server("this-one", Arc::default()).await;
    let builder = with_credentials(&ground, &server, &subscription, &[("GCE_METADATA_HOST", &address)]);
    is_named(builder, &["does not accept the credentials"]).await;
}
