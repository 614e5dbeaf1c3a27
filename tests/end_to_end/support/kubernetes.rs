//! The Kubernetes API as it is on the wire: any request, and the whole answer with its headers.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::client::Body;

use super::ground::Ground;
use super::http::Answer;

pub const JSON: &str = "application/json";
pub const MERGE_PATCH: &str = "application/merge-patch+json";
pub const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";

impl Ground {
    /// Any request of the tests' own; never counted, always permitted. An empty media type: no such header.
    pub async fn ask(&self, method: &str, path: &str, media_type: &str, body: impl Into<Bytes>) -> Answer {
        self.ask_with(method, path, &[("content-type", media_type)], body).await
    }

    /// As [`Self::ask`], with these headers; one without a value is left out.
    pub async fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into().to_vec())).unwrap();
        let response = self.client_as("admin").await.send(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }
}
