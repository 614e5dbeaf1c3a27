//! Label selectors as `kubectl -l` takes them: `app=web,tier!=cache,env in (a, b),!legacy`.
//!
//! kube matches selectors but does not parse them. Source: Kubernetes, `apimachinery/pkg/labels/selector.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use kube::core::{Expression, Selector, SelectorExt as _};

/// A parsed label selector, shown as it was written.
#[derive(Debug, Clone)]
pub struct LabelSelector {
    written: String,
    selector: Selector,
}

/// Why a text is not a label selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a label selector: expected KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A,B), KEY or !KEY, separated by commas"
)]
pub struct LabelSelectorError(String);

impl LabelSelector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(labels)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let requirements: Option<Selector> = requirements(text).into_iter().map(expression).collect();
        match requirements {
            Some(selector) => Ok(Self { written: text.to_owned(), selector }),
            None => Err(LabelSelectorError(text.to_owned())),
        }
    }
}

/// Splits at the commas that are not inside parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(split).map(str::trim).collect()
}

fn expression(text: &str) -> Option<Expression> {
    if let Some(key) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(word(key)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(word(key)?, value_word(value)?));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(Expression::Equal(word(key)?, value_word(value)?));
    }
    if let Some((key, rest)) = text.split_once(char::is_whitespace) {
        let rest = rest.trim();
        let (is_in, list) = match (rest.strip_prefix("in"), rest.strip_prefix("notin")) {
            (_, Some(list)) => (false, list),
            (Some(list), None) => (true, list),
            (None, None) => return None,
        };
        let values = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        let values: Option<BTreeSet<String>> = values.split(',').map(value_word).collect();
        return Some(if is_in { Expression::In(word(key)?, values?) } else { Expression::NotIn(word(key)?, values?) });
    }
    Some(Expression::Exists(word(text)?))
}

fn word(text: &str) -> Option<String> {
    value_word(text).filter(|word| !word.is_empty())
}

fn value_word(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        selector.parse::<LabelSelector>().unwrap().matches(&labels)
    }

    #[test]
    fn selectors_match_as_kubectl_does() {
        let labels = [("app", "web"), ("env", "a")];
        for selector in ["app=web", "app==web", "app", "!legacy", "app!=api", "env in (a, b)", "app notin (x),env=a"] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in ["app=api", "legacy", "!app", "app!=web", "env in (b)", "env notin (a,b)", "app=web,env=b"] {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "app=web,", "a b", "in (a)", "app in a", "app=(a)", "app=web env=a"] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text}");
        }
    }
}
