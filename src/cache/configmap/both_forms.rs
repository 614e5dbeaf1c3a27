//! A ConfigMap that holds the document in both forms, of which one alone counts.

use super::CacheConfigMap;
use crate::cluster::ConfigMapObject;
use crate::index::document::stored::{both_forms, gzip_key};

impl CacheConfigMap {
    /// The warning where the object holds both forms of the document.
    pub fn passed_over(&self, object: &ConfigMapObject) -> Option<String> {
        let has_both = object.data.contains_key(&self.key) && object.binary_data.contains_key(&gzip_key(&self.key));
        has_both.then(|| both_forms(format_args!("the ConfigMap {self}"), &self.key))
    }
}
