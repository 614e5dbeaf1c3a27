//! Randomness for names: of objects, of requests, of directories.

use std::hash::{BuildHasher as _, RandomState};

/// Each `RandomState` is keyed anew, from the system's randomness.
pub(super) fn random_number() -> u64 {
    RandomState::new().hash_one(0)
}

/// As a UUID of version 4 looks.
pub(super) fn random_uid() -> String {
    let (high, low) = (random_number(), random_number());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

/// Five characters out of those that make no words (`apimachinery/pkg/util/rand`).
pub(super) fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut number = random_number();
    let mut next = || {
        let at = usize::try_from(number % ALPHABET.len() as u64).unwrap_or_default();
        number /= ALPHABET.len() as u64;
        char::from(ALPHABET[at])
    };
    (0..5).map(|_| next()).collect()
}
