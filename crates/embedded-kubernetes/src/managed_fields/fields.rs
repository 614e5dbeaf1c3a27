//! Sets of field paths, their `FieldsV1` form, and the comparison of two objects.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::resource::{is_atomic_map, list_map_keys};

/// Paths of `f:NAME` and `k:{...}` elements. A path may be a member beside its own children: the
/// `"."` of `FieldsV1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeSet<Vec<String>>);

/// What a write did.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Added or changed.
    pub(super) written: FieldSet,
    pub(super) removed: FieldSet,
}

/// A path of plain fields.
pub(super) fn path(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| format!("f:{field}")).collect()
}

/// Compares two objects field by field, as `typed/compare.go` does.
pub(super) fn compare(old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    walk(Some(old), Some(new), "", &mut Vec::new(), &mut comparison);
    comparison
}

fn walk(old: Option<&Value>, new: Option<&Value>, field: &str, path: &mut Vec<String>, found: &mut Comparison) {
    let children = children_of_maps(old, new, field).or_else(|| children_of_lists(old, new, field));
    let Some(children) = children else {
        return match (old, new) {
            (Some(_), None) => found.removed.insert(path),
            (Some(old), Some(new)) if old == new => {}
            _ => found.written.insert(path),
        };
    };
    for (element, name, old_child, new_child) in children {
        path.push(element);
        walk(old_child, new_child, name, path, found);
        path.pop();
    }
    match (old, new) {
        (None, _) => found.written.insert(path),
        (_, None) => found.removed.insert(path),
        _ => {}
    }
}

/// Element of the path, name of the field, the value on either side.
type Child<'a> = (String, &'a str, Option<&'a Value>, Option<&'a Value>);

/// `None` for what counts as one value.
fn children_of_maps<'a>(old: Option<&'a Value>, new: Option<&'a Value>, field: &str) -> Option<Vec<Child<'a>>> {
    let is_map = |side: Option<&Value>| side.is_none_or(|value| value.is_object() || value.is_null());
    if !is_map(old) || !is_map(new) || is_atomic_map(field) {
        return None;
    }
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let keys: BTreeSet<&String> = [old, new].into_iter().flatten().flat_map(Map::keys).collect();
    if keys.is_empty() {
        return None;
    }
    let side = |map: Option<&'a Map<String, Value>>, key: &str| map.and_then(|map| map.get(key));
    Some(keys.into_iter().map(|key| (format!("f:{key}"), key.as_str(), side(old, key), side(new, key))).collect())
}

fn children_of_lists<'a>(old: Option<&'a Value>, new: Option<&'a Value>, field: &str) -> Option<Vec<Child<'a>>> {
    let keys = list_map_keys(field)?;
    let is_list = |side: Option<&Value>| side.is_none_or(|value| value.is_array() || value.is_null());
    if !is_list(old) || !is_list(new) {
        return None;
    }
    let items = |side: Option<&'a Value>| side.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (old, new) = (items(old), items(new));
    let elements: BTreeSet<String> = old.iter().chain(new).map(|item| element(item, keys)).collect();
    if elements.is_empty() {
        return None;
    }
    let side = |items: &'a [Value], wanted: &str| items.iter().find(|item| element(item, keys) == wanted);
    let child = |wanted: String| {
        let (old, new) = (side(old, &wanted), side(new, &wanted));
        (wanted, "", old, new)
    };
    Some(elements.into_iter().map(child).collect())
}

/// `k:{"name":"web"}`
fn element(item: &Value, keys: &[&str]) -> String {
    let identity: Map<String, Value> =
        keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone()))).collect();
    format!("k:{}", Value::Object(identity))
}

// === impl FieldSet ===

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert(&mut self, path: &[String]) {
        if !path.is_empty() {
            self.0.insert(path.to_vec());
        }
    }

    pub(super) fn remove_all(&mut self, other: &Self) {
        self.0.retain(|path| !other.0.contains(path));
    }

    pub(super) fn add_all(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn decode(fields: &Value) -> Self {
        let mut set = Self::default();
        set.decode_below(fields, &mut Vec::new());
        set
    }

    fn decode_below(&mut self, fields: &Value, path: &mut Vec<String>) {
        for (element, below) in fields.as_object().into_iter().flatten() {
            if element == "." {
                self.insert(path);
                continue;
            }
            path.push(element.clone());
            if below.as_object().is_none_or(Map::is_empty) {
                self.insert(path);
            } else {
                self.decode_below(below, path);
            }
            path.pop();
        }
    }

    pub(super) fn encode(&self) -> Value {
        let mut root = json!({});
        // A path comes before those that go on from it, so its `"."` can be told when they come.
        for path in &self.0 {
            let mut at = &mut root;
            for (depth, element) in path.iter().enumerate() {
                let is_member_itself = depth > 0 && self.0.contains(&path[..depth]);
                if is_member_itself {
                    at["."] = json!({});
                }
                at = &mut at[element.as_str()];
                if at.is_null() {
                    *at = json!({});
                }
            }
        }
        root
    }
}

impl From<BTreeSet<Vec<String>>> for FieldSet {
    fn from(paths: BTreeSet<Vec<String>>) -> Self {
        Self(paths)
    }
}

// === impl Comparison ===

impl Comparison {
    /// Leaves out everything at and below these paths.
    pub(super) fn forget(&mut self, roots: &[Vec<String>]) {
        for set in [&mut self.written, &mut self.removed] {
            set.0.retain(|path| !roots.iter().any(|root| path.starts_with(root)));
        }
    }
}
