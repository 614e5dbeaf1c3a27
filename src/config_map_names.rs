//! How a ConfigMap and its keys may be called. The API server refuses any other name, so nothing can exist under it.
//!
//! Pure: it must not know what is kept in a ConfigMap.

use crate::workload::is_object_name;

/// Kubernetes: `DNS1123SubdomainMaxLength`, for names of objects and for keys (`IsConfigMapKey`).
pub(crate) const NAME_BYTES_MAX: usize = 253;

/// Why no ConfigMap can be called that; `None` where one can.
pub(crate) fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.contains('/') {
        Some("it has a /; the namespace is named apart, with --namespace")
    } else if name.len() > NAME_BYTES_MAX {
        Some("it is longer than 253 characters")
    } else if !is_object_name(name) {
        Some(
            "it may have lower-case letters, digits, - and . alone, and each part between dots begins and ends with a letter or a digit",
        )
    } else {
        None
    }
}

/// Why no key can be called that; `None` where one can.
pub(crate) fn key_problem(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        Some("it is empty")
    } else if key.len() > NAME_BYTES_MAX {
        Some("it is longer than 253 characters")
    } else if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        Some("it has other characters than letters, digits, -, _ and .")
    } else if key == "." || key.starts_with("..") {
        Some("it is \".\" or begins with \"..\"")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_exist_has_a_problem() {
        let (long, too_long) = ("x".repeat(253), "x".repeat(254));
        for name in ["a", "0", "deployment-image-cache", "a.b-c.d", &long] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        for name in ["", "A", "a b", " a", "a_b", "-a", "a-", "a..b", ".a", "a/b", "\u{e4}", "a\n", &too_long] {
            assert!(name_problem(name).is_some(), "{name}");
        }
        for key in ["a", "A.b_C-d", ".a", "-", "_", "cache.json", &long] {
            assert_eq!(key_problem(key), None, "{key}");
        }
        for key in ["", ".", "..", "..a", "a b", "a/b", "\u{e4}", &too_long] {
            assert!(key_problem(key).is_some(), "{key}");
        }
    }
}
