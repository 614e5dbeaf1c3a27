//! The annotations that a decision reads. Pure.

use std::collections::BTreeMap;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize as _, Deserializer, Serializer};

/// The prefix of our own annotations.
const OURS: &str = "pushroll.dev/";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// No annotation of ours has this name: a name has no slash.
const SHORT_RESTARTED_AT: &str = "/";

/// Whether a decision reads this annotation. Others may be as large as the object itself (`kubectl apply` keeps a copy of
/// it there), and a watch keeps thousands of objects.
pub(super) fn decides(key: &str) -> bool {
    key.starts_with(OURS) || key == RESTARTED_AT
}

/// A key that decides, as the watch keeps it.
pub(super) fn shortened(key: &str) -> &str {
    key.strip_prefix(OURS).unwrap_or(SHORT_RESTARTED_AT)
}

/// The key that [`shortened`] has made this of.
pub(super) fn lengthened(short: &str) -> String {
    if short == SHORT_RESTARTED_AT { RESTARTED_AT.to_owned() } else { format!("{OURS}{short}") }
}

/// With shorter keys, for the watch.
pub(super) fn shorter<S: Serializer>(kept: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(kept.iter().map(|(key, value)| (shortened(key), value)))
}

pub(super) fn annotations_that_decide<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    if !deserializer.is_human_readable() {
        let kept = BTreeMap::<String, String>::deserialize(deserializer)?;
        return Ok(kept.into_iter().map(|(short, value)| (lengthened(&short), value)).collect());
    }
    struct Annotations;
    impl<'de> Visitor<'de> for Annotations {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("annotations")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut kept = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if decides(&key) {
                    kept.insert(key, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(kept)
        }
    }
    deserializer.deserialize_map(Annotations)
}
