//! Pods that are ready at once; what pods do otherwise is compared with the real controllers in the end-to-end tests.

use serde_json::json;

use super::*;

#[tokio::test]
async fn pods_are_ready_at_once_and_go_with_their_deployment() {
    let kubernetes = EmbeddedKubernetes::new();
    let controllers = Controllers::new(["a", "b"]).with_ready_pods(|image| format!("{image}@sha256:0"));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let kubernetes = kubernetes.clone();
        async move { controllers.run(&kubernetes, async { drop(ended.await) }).await }
    });
    let client = kubernetes.client();
    let request = async |method: &str, path: &str, body: Value| -> Value {
        let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        client.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap()
    };
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let labels = json!({"app": "web"});
    let web = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}},
        },
    });
    request("POST", deployments, web).await;
    let path = format!("{deployments}/web");
    while request("GET", &path, Value::Null).await["status"]["availableReplicas"] != 2 {
        tokio::task::yield_now().await;
    }
    let pods = "/api/v1/namespaces/default/pods";
    let list = request("GET", pods, Value::Null).await;
    let pods_listed = list["items"].as_array().unwrap();
    let nodes: BTreeSet<_> = pods_listed.iter().map(|pod| pod["spec"]["nodeName"].to_string()).collect();
    assert_eq!(nodes.len(), 2, "{list}");
    assert_eq!(list["items"][0]["status"]["containerStatuses"][0]["imageID"], "web@sha256:0");

    request("DELETE", &path, json!({})).await;
    while !request("GET", pods, Value::Null).await["items"].as_array().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(end);
    running.await.unwrap();
}
