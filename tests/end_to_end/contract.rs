//! `make contract`: schemathesis makes requests out of `openapi.yaml`, good ones and bad ones, sends them to a running
//! service, and holds each answer against the document. `tests/contract` pins it, and says what it may not ask for.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::openapi::document;
use crate::support::fixtures::{daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::issuer::{Issuer, Jwks, bearer, good_token};
use crate::support::service::{Service, ServiceBuilder};
use crate::support::suite::{SCHEMATHESIS, Suite};

/// Of the contract's examples: what is asked for is often this.
const IMAGE: &str = "us-docker.pkg.dev/acme/shop/web:1.4";
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract/schemathesis.toml");

pub fn tests(suite: &mut Suite) {
    suite.on_embedded_with_schemathesis(contract_of_the_public_listener);
    suite.on_embedded_with_schemathesis(contract_of_the_public_listener_without_metadata);
    suite.on_embedded_with_schemathesis(contract_of_the_public_listener_with_tokens);
    suite.on_embedded_with_schemathesis(contract_of_the_internal_listener);
    suite.on_embedded_with_schemathesis(contract_of_the_admin_listener);
}

async fn contract_of_the_public_listener(ground: Ground) {
    let service = started(&ground, |service| service).await;
    keeps_its_contract(&ground, &service, &service.public, of_the_public_listener(), &[]).await;
}

/// Where no header makes any body a payload, a body that the contract does not have is refused.
async fn contract_of_the_public_listener_without_metadata(ground: Ground) {
    let mut contract = of_the_public_listener();
    let push = &mut contract["paths"]["/v1/push"]["post"];
    push["operationId"] = json!("push_without_metadata");
    push["parameters"] = json!([]);
    let service = started(&ground, |service| service).await;
    keeps_its_contract(&ground, &service, &service.public, contract, &[]).await;
}

/// With a token as with none, but for those whose token is missing or is made up.
async fn contract_of_the_public_listener_with_tokens(ground: Ground) {
    let issuer = Issuer::start(Jwks::genuine()).await;
    let mut contract = of_the_public_listener();
    contract["paths"]["/v1/push"]["post"]["security"] = json!([{"google": []}]);
    let service = started(&ground, |service| service.authenticated_by(&issuer)).await;
    let authorization = format!("Authorization: {}", bearer(&good_token()));
    keeps_its_contract(&ground, &service, &service.public, contract.clone(), &["--header", &authorization]).await;
    assert!(service.metric("pushroll_auth_total{result=\"accepted\"}").await > 10.0);
    keeps_its_contract(&ground, &service, &service.public, contract, &[]).await;
    assert!(service.metric("pushroll_auth_total{result=\"malformed\"}").await > 0.0);
}

/// Its rollouts are of the watched workloads.
async fn contract_of_the_internal_listener(ground: Ground) {
    let service = started(&ground, |service| service.arguments(["--watch"])).await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    keeps_its_contract(&ground, &service, &service.internal, of_listener("internal"), &[]).await;
}

async fn contract_of_the_admin_listener(ground: Ground) {
    let service = started(&ground, |service| service).await;
    keeps_its_contract(&ground, &service, &service.admin, of_listener("admin"), &[]).await;
}

/// On good days: a 503 is an answer that the contract has, and schemathesis takes every one for a bug. Nothing is
/// away, and a proof may take as long as it likes.
async fn started(ground: &Ground, configure: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Service {
    for workload in [deployment, stateful_set, daemon_set] {
        ground.create(&workload(ground.namespace(), "web", IMAGE)).await;
    }
    configure(ground.service().arguments(["--hold", "60s"])).start_ready().await
}

/// The operations of a listener, by their tags. Of a push, bodies as JSON alone: whatever its content type, a body is JSON,
/// and schemathesis writes it as YAML or as a form where the type says so.
fn of_listener(listener: &str) -> Value {
    let mut contract: Value = serde_yaml_ng::from_str(document::TEXT).unwrap();
    let paths = contract["paths"].as_object_mut().unwrap();
    for item in paths.values_mut() {
        item.as_object_mut().unwrap().retain(|key, operation| {
            key != "servers" && operation["tags"].as_array().unwrap().contains(&json!(listener))
        });
    }
    paths.retain(|_, item| !item.as_object().unwrap().is_empty());
    assert!(!paths.is_empty(), "{listener}");
    if let Some(push) = paths.get_mut("/v1/push") {
        let content = push["post"]["requestBody"]["content"].as_object_mut().unwrap();
        content.remove("*/*").unwrap();
    }
    contract
}

/// Without `dry_run`, which by its description is the admin listener's; here it is answered 400.
fn of_the_public_listener() -> Value {
    let mut contract = of_listener("public");
    let parameters = contract["paths"]["/v1/push"]["post"]["parameters"].as_array_mut().unwrap();
    let before = parameters.len();
    parameters.retain(|parameter| parameter["$ref"] != "#/components/parameters/DryRun");
    assert_eq!(parameters.len(), before - 1);
    contract
}

/// Runs schemathesis to its end; what it has found is the failure of the test.
async fn keeps_its_contract(ground: &Ground, service: &Service, url: &str, contract: Value, more: &[&str]) {
    let path = ground.directory().join("openapi.json");
    std::fs::write(&path, contract.to_string()).unwrap();
    let mut command = Command::new(std::env::var_os(SCHEMATHESIS).expect(SCHEMATHESIS));
    command.args(["--no-color", "--config-file", CONFIGURATION, "run"]).arg(&path).args(["--url", url]).args(more);
    // It leaves files where it stands; and a proxy of the user's is none for loopback.
    command.current_dir(ground.directory()).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let errors: Vec<_> = service.log().into_iter().filter(|line| line["severity"] == "ERROR").collect();
    assert!(errors.is_empty(), "{errors:?}");
}
