//! The keys of the ConfigMap.

use aws_lc_rs::digest;

/// Characters of the readable part of a key. The API allows 253 in all, and the hash alone makes the key unique.
const READABLE_CHARACTERS: usize = 200;

/// `push.NAMESPACE.KIND.NAME.HASH`. The readable part is for people and may be cut off; the value names the
/// workload.
pub(super) fn key_of(prefix: &str, readable: &str, identity: &str) -> String {
    let readable: String = readable.chars().take(READABLE_CHARACTERS).collect();
    format!("{prefix}{readable}.{}", hash_of(identity))
}

/// 16 hexadecimal digits.
pub(crate) fn hash_of(identity: &str) -> String {
    let hash = digest::digest(&digest::SHA256, identity.as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
