//! Times as the API writes them.

use jiff::Timestamp;

/// RFC 3339, to the second: `metav1.Time`.
pub(super) fn timestamp_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
