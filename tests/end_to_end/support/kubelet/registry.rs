//! The registry, and what of it is on the nodes.

use std::collections::BTreeMap;

/// Why a container has no image.
#[derive(Debug, Clone, PartialEq)]
pub struct NoImage {
    pub reason: String,
    pub message: String,
}

/// Tags, and the digest or the refusal behind each.
#[derive(Debug, Clone, Default)]
pub struct Registry(BTreeMap<String, Result<String, NoImage>>);

impl Registry {
    pub fn push(&mut self, image: &str, digest: &str) {
        self.0.insert(image.to_owned(), Ok(digest.to_owned()));
    }

    pub fn refuse(&mut self, image: &str, reason: &str, message: &str) {
        let refusal = NoImage { reason: reason.to_owned(), message: message.to_owned() };
        self.0.insert(image.to_owned(), Err(refusal));
    }

    /// The digest that a container gets by its pull policy. What is pulled stays on the nodes.
    pub fn pull(&self, image: &str, policy: &str, on_nodes: &mut BTreeMap<String, String>) -> Result<String, NoImage> {
        if let Some(digest) = on_nodes.get(image).filter(|_| policy != "Always") {
            return Ok(digest.clone());
        }
        let no_image = |reason: &str, message: String| NoImage { reason: reason.to_owned(), message };
        if policy == "Never" {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            return Err(no_image("ErrImageNeverPull", message));
        }
        let pulled = match (self.0.get(image), image.split_once('@')) {
            (Some(known), _) => known.clone(),
            (None, Some((_, digest))) => Ok(digest.to_owned()),
            (None, None) => {
                Err(no_image("ErrImagePull", format!("failed to resolve reference \"{image}\": not found")))
            }
        }?;
        on_nodes.insert(image.to_owned(), pulled.clone());
        Ok(pulled)
    }
}

/// The name of an image without tag and digest.
pub fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}
