//! Of an image reference, and of a digest.

use std::hash::BuildHasher as _;

use super::is_told_briefly;
use crate::image::{Digest, ImageRef};

/// Longest host and path; the path of a normal form may be longer than what was written.
const HOST_BYTES_MAX: usize = 4096;
const PATH_BYTES_MAX: usize = 255;
/// An algorithm, a colon and 256 hexadecimal digits.
const DIGEST_BYTES_MAX: usize = 300;

pub fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Digest>() {
        Ok(digest) => digest_is_its_own_spelling(&digest, text),
        Err(error) => is_told_briefly(&error.to_string()),
    }
    match text.parse::<ImageRef>() {
        Ok(image) => reference_has_one_normal_form(&image, text),
        Err(error) => is_told_briefly(&error.to_string()),
    }
}

/// What is stored of a digest must be read back as the same.
fn digest_is_its_own_spelling(digest: &Digest, text: &str) {
    assert_eq!(digest.as_str(), text.to_ascii_lowercase());
    assert_eq!(digest.as_str().parse().as_ref(), Ok(digest));
    assert!(text.len() <= DIGEST_BYTES_MAX, "{}", text.len());
    let json = serde_json::to_string(digest).unwrap();
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), *digest);
}

fn reference_has_one_normal_form(image: &ImageRef, text: &str) {
    assert_eq!(image.as_written(), text);
    assert_eq!(image.to_string(), text);
    assert!(text.len() <= HOST_BYTES_MAX + 1 + PATH_BYTES_MAX + 1 + 128 + 1 + DIGEST_BYTES_MAX, "{}", text.len());
    assert!(image.tag().is_some() || image.digest().is_some());
    let tag_key = image.tag().filter(|_| image.digest().is_none());
    let tag_key = tag_key.map(|tag| format!("{}:{tag}", image.repository()));
    assert_eq!(image.tag_key(), tag_key.as_deref());

    let normal = normal_form(image);
    is_the_same(image, &normal);
    if let Some(path) = image.repository().strip_prefix("docker.io/") {
        is_the_same(image, &normal.replacen("docker.io/", "index.docker.io/", 1));
        if let Some(name) = path.strip_prefix("library/").filter(|name| !name.contains('/')) {
            is_the_same(image, &normal.replacen(&format!("docker.io/library/{name}"), name, 1));
        }
    }
    if let Some((project, name)) = image.repository().strip_prefix("gcr.io/").and_then(|path| path.split_once('/'))
        && !project.contains('.')
    {
        let hosted = format!("us-docker.pkg.dev/{project}/gcr.io/{name}");
        is_the_same(image, &normal.replacen(image.repository(), &hosted, 1));
    }
}

/// The repository, the tag and the digest, as they are compared.
fn normal_form(image: &ImageRef) -> String {
    let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{}{tag}{digest}", image.repository())
}

/// Another spelling of an image is that image; one whose path is too long is none.
fn is_the_same(image: &ImageRef, spelling: &str) {
    let other: ImageRef = match spelling.parse() {
        Ok(other) => other,
        Err(error) => return assert!(error.to_string().contains("path is longer than"), "{image}: {error}"),
    };
    assert_eq!(other, *image);
    assert_eq!(normal_form(&other), normal_form(image), "{image} and {spelling}");
    let hasher = std::hash::RandomState::new();
    assert_eq!(hasher.hash_one(&other), hasher.hash_one(image));
    assert!(other.same_repository(image));
}
