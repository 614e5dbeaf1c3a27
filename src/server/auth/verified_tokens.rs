//! The tokens that were verified, until they expire: Pub/Sub sends the same one with every push for up to an hour.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use parking_lot::RwLock;

/// A subscription has one or two tokens at a time. Only verified ones are kept.
const TOKENS_MAX: usize = 1024;

/// SHA-256 of a token: nobody can authenticate with what is kept.
pub(super) type Fingerprint = [u8; 32];

/// Fingerprints, and until when their tokens are good.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens(RwLock<HashMap<Fingerprint, Timestamp>>);

pub(super) fn fingerprint(token: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    fingerprint
}

impl VerifiedTokens {
    pub(super) fn contains(&self, fingerprint: &Fingerprint, now: Timestamp) -> bool {
        self.0.read().get(fingerprint).is_some_and(|until| now < *until)
    }

    pub(super) fn insert(&self, fingerprint: Fingerprint, until: Timestamp, now: Timestamp) {
        let mut tokens = self.0.write();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, until| now < *until);
        }
        // Full of good ones: they will be verified once more.
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(fingerprint, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_expires_and_their_number_is_bounded() {
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let tokens = VerifiedTokens::default();
        let known = fingerprint("a");
        assert!(!tokens.contains(&known, at(0)));
        tokens.insert(known, at(10), at(0));
        assert!(tokens.contains(&known, at(9)) && !tokens.contains(&known, at(10)));
        assert!(!tokens.contains(&fingerprint("b"), at(9)));

        for number in 0..3 * TOKENS_MAX {
            let long_lived = fingerprint(&number.to_string());
            tokens.insert(long_lived, at(20), at(11));
            assert!(tokens.contains(&long_lived, at(11)));
            assert!(tokens.0.read().len() <= TOKENS_MAX);
        }
        assert!(!tokens.0.read().contains_key(&known), "room is made by what has expired first");
    }
}
