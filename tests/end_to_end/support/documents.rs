//! Cache documents, and what a service says of its index.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::http::{Answer, get};
use super::service::Service;

/// A document as somebody writes it by hand: images, and who runs them.
pub fn document(images: &[(&str, &[&Value])]) -> Value {
    let entries = |workloads: &[&Value]| -> Value { workloads.iter().map(|workload| entry(workload)).collect() };
    let images: serde_json::Map<_, _> = images.iter().map(|(image, run)| ((*image).to_owned(), entries(run))).collect();
    json!({"images": images})
}

/// A document as a scan of these namespaces (`None`: of all) writes it that began at `as_of`.
pub fn scanned_document(as_of: Timestamp, namespaces: Option<&[&str]>, images: &[(&str, &[&Value])]) -> Value {
    let mut document = document(images);
    document["version"] = json!(1);
    document["as_of"] = json!(as_of);
    document["scope"] = namespaces.map_or_else(|| json!({}), |namespaces| json!({"namespaces": namespaces}));
    document
}

fn entry(workload: &Value) -> Value {
    let metadata = &workload["metadata"];
    json!({"name": metadata["name"], "namespace": metadata["namespace"], "kind": workload["kind"]})
}

/// The names of the workloads in an answer.
pub fn names(answer: &Value) -> Vec<String> {
    let workloads = answer["workloads"].as_array().unwrap_or_else(|| panic!("no workloads in {answer}"));
    workloads.iter().map(|workload| workload["name"].as_str().unwrap().to_owned()).collect()
}

/// A push that is done: 200, `restarted`.
pub fn assert_restarted(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
}

impl Service {
    /// `GET /v1/lookup`
    pub async fn lookup(&self, image: &str) -> Value {
        let answer = get(&format!("{}/v1/lookup?image={image}", self.internal)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until exactly these run `image` by the index.
    pub async fn wait_for_lookup(&self, image: &str, expected: &[&str]) -> Value {
        let found = super::wait::eventually("the lookup's answer", async || {
            let answer = self.lookup(image).await;
            (names(&answer) == expected).then_some(answer)
        });
        found.await
    }

    /// The value of a metric by its name and labels, as Prometheus shows it; 0 where it is not there.
    pub async fn metric(&self, name_and_labels: &str) -> f64 {
        let text = get(&format!("{}/metrics", self.internal)).await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}
