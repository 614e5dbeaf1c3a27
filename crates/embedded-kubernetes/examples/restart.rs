//! Restarts a Deployment on the API in memory, while it is away and back again.
//!
//! `cargo run -p embedded-kubernetes --example restart`

use std::error::Error;

use embedded_kubernetes::{EmbeddedKubernetes, Outage};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let kubernetes = EmbeddedKubernetes::new();
    let deployments: Api<Deployment> = Api::namespaced(kubernetes.client_as("me"), "default");
    let web: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    }))?;
    let created = deployments.create(&PostParams::default(), &web).await?;
    println!("created: generation {:?}", created.metadata.generation);

    kubernetes.set_outage(Some(Outage::Status(503)));
    if let Err(error) = deployments.restart("web").await {
        println!("during an outage: {error}");
    }
    kubernetes.set_outage(None);
    let restarted = deployments.restart("web").await?;
    println!("restarted: generation {:?}", restarted.metadata.generation);

    kubernetes.deny("default", Some("web"), "not on a Saturday");
    if let Err(error) = deployments.restart("web").await {
        println!("against a policy: {error}");
    }

    for call in kubernetes.api_calls("me") {
        println!("{} {}/{}", call.verb, call.resource, call.name.unwrap_or_default());
    }
    Ok(())
}
