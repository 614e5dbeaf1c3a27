//! How full the cache ConfigMap is: all its values together, compared with the API's limit.

use crate::cluster::CONFIG_MAP_BYTES_MAX;

/// How full, in steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Less than half.
    #[default]
    Fits,
    /// From 50 % on.
    HalfFull,
    /// From 80 % on.
    NearlyFull,
    /// More than the limit.
    TooLarge,
}

/// What to do about a cache that outgrows its ConfigMap.
pub const REMEDY: &str = "run one pushroll for each set of namespaces, each with --namespaces and a ConfigMap of its own (--cache-configmap)";

impl Level {
    /// The level of this many bytes.
    pub fn of(bytes: usize) -> Self {
        match bytes {
            _ if bytes > CONFIG_MAP_BYTES_MAX => Self::TooLarge,
            _ if bytes >= CONFIG_MAP_BYTES_MAX / 5 * 4 => Self::NearlyFull,
            _ if bytes >= CONFIG_MAP_BYTES_MAX / 2 => Self::HalfFull,
            _ => Self::Fits,
        }
    }
}

/// `600000 of the 1048576 bytes that a ConfigMap holds (57 %)`
pub fn describe(bytes: usize) -> String {
    let percent = bytes * 100 / CONFIG_MAP_BYTES_MAX;
    format!("{bytes} of the {CONFIG_MAP_BYTES_MAX} bytes that a ConfigMap holds ({percent} %)")
}

/// A warning that depends on the level only, not on each byte, so that it is logged once for each change of level.
pub fn warning(bytes: usize) -> Option<String> {
    let much = match Level::of(bytes) {
        Level::Fits => return None,
        Level::HalfFull => "half",
        Level::NearlyFull | Level::TooLarge => "80 %",
    };
    Some(format!("the ConfigMap takes {much} or more of the {CONFIG_MAP_BYTES_MAX} bytes that it can hold: {REMEDY}"))
}
