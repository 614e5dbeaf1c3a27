//! The full name of a subscription.

use std::fmt;
use std::str::FromStr;

/// `projects/PROJECT/subscriptions/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionName(Box<str>);

/// The text is not the name of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the full name of a subscription, projects/PROJECT/subscriptions/NAME{0}")]
pub struct SubscriptionNameError(&'static str);

/// Pub/Sub's limit for the name of a resource.
const NAME_BYTES_MAX: usize = 255;

impl SubscriptionName {
    /// As Pub/Sub writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubscriptionName {
    type Err = SubscriptionNameError;

    fn from_str(text: &str) -> Result<Self, SubscriptionNameError> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["projects", project, "subscriptions", name] if is_project(project) => match name_problem(name) {
                None => Ok(Self(text.into())),
                Some(problem) => Err(SubscriptionNameError(problem)),
            },
            ["projects", _, "subscriptions", _] => Err(SubscriptionNameError(
                "; the project is an id such as acme-prod: lower-case letters, digits and hyphens",
            )),
            ["projects", _, "topics", _] => Err(SubscriptionNameError("; this is a topic: name a subscription of it")),
            _ => Err(SubscriptionNameError("")),
        }
    }
}

/// `acme`, `example.com:acme`, or a project number.
fn is_project(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_allowed)
}

/// Source: Google's "Guidelines to name a topic, subscription, schema, or snapshot".
fn name_problem(name: &str) -> Option<&'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+%".contains(&byte);
    if name.len() < 3 || name.len() > NAME_BYTES_MAX {
        Some("; NAME has 3 to 255 characters")
    } else if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        Some("; NAME begins with a letter")
    } else if !name.bytes().all(is_allowed) {
        Some("; NAME has letters, digits and -_.~+% alone")
    } else if name.starts_with("goog") {
        Some("; no NAME begins with goog")
    } else {
        None
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_alone() {
        for name in ["projects/acme/subscriptions/pushroll", "projects/example.com:acme-1/subscriptions/a.b~c+%2F_-"] {
            assert_eq!(name.parse::<SubscriptionName>().unwrap().to_string(), name);
        }
        for (text, why) in [
            ("", "NAME"),
            ("pushroll", "NAME"),
            ("projects/acme/subscriptions/", "3 to 255 characters"),
            ("projects/acme/subscriptions/ab", "3 to 255 characters"),
            ("projects/acme/subscriptions/1abc", "begins with a letter"),
            ("projects/acme/subscriptions/googles", "goog"),
            ("projects/acme/subscriptions/a b c", "alone"),
            ("projects/acme/subscriptions/abc/", "NAME"),
            (" projects/acme/subscriptions/abc", "NAME"),
            ("projects//subscriptions/abc", "the project"),
            ("projects/Acme/subscriptions/abc", "the project"),
            ("projects/acme/topics/gcr", "a topic"),
            ("//pubsub.googleapis.com/projects/acme/subscriptions/abc", "NAME"),
        ] {
            let error = text.parse::<SubscriptionName>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
