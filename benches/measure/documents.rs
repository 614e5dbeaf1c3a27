//! Cache documents of a size, with believable names.

use serde_json::{Value, json};

/// A document of at least `bytes`, and one of its images.
pub fn document(bytes: usize) -> (String, String) {
    document_as_of(bytes, "2026-11-20T09:16:40Z")
}

/// The same, of another time.
pub fn document_as_of(bytes: usize, as_of: &str) -> (String, String) {
    let (mut images, mut length, mut count) = (serde_json::Map::new(), 100, 0);
    while length < bytes {
        let (image, entries) = (image(count), workloads(count));
        length += image.len() + entries.to_string().len() + 4;
        images.insert(image, entries);
        count += 1;
    }
    let counts = json!({"images": count, "workloads": count});
    let document = json!({"version": 1, "as_of": as_of, "scope": {}, "counts": counts, "images": images});
    (document.to_string(), image(count / 2))
}

fn image(number: usize) -> String {
    format!("us-docker.pkg.dev/acme-production/shop-services/service-{number:05}:1.{number}")
}

fn workloads(number: usize) -> Value {
    json!([{"name": format!("service-{number:05}"), "namespace": format!("team-{:02}", number % 20)}])
}
