//! An admission webhook: the test says when and what it answers.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::certificates::Authority;
use super::ground::Ground;

impl Ground {
    /// From now on each update of a Deployment in the test's namespace is judged by `judge`, which sees the request of the
    /// review and gives the response's members beside `uid`. It ends with the test's runtime.
    pub async fn admit_updates<F>(&self, judge: impl Fn(Value) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Value> + Send + 'static,
    {
        let authority = Authority::new("webhook");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let (tls, judge) = (TlsAcceptor::from(authority.new_server()), Arc::new(judge));
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (tls, judge) = (tls.clone(), Arc::clone(&judge));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let answer = service_fn(|request| answer(request, &*judge));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        let rule = json!({
            "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"],
        });
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace()}});
        let webhook = json!({
            "name": "webhook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "timeoutSeconds": 30, "failurePolicy": "Fail", "namespaceSelector": here, "rules": [rule],
            "clientConfig": {"url": url, "caBundle": authority.data()},
        });
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.namespace()}, "webhooks": [webhook],
        });
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        self.request("POST", path, Some(configuration)).await.unwrap();
    }
}

async fn answer<F: Future<Output = Value>>(
    request: Request<Incoming>,
    judge: &impl Fn(Value) -> F,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut response = judge(review["request"].clone()).await;
    response["uid"] = review["request"]["uid"].clone();
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(review.to_string().into()))
        .unwrap())
}
