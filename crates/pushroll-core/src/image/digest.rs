//! Content digests: `ALGORITHM:HEX`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::excerpt::{QUOTED_CHARACTERS, excerpt};

/// Longest algorithm of a digest: the grammar has no limit, but it goes into a record on a pod template.
const ALGORITHM_BYTES_MAX: usize = 32;

/// A content digest such as `sha256:…`, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: {problem}")]
pub struct DigestError {
    text: String,
    problem: &'static str,
}

impl Digest {
    /// The digest as `ALGORITHM:HEX`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a text in which there is no [`problem`].
    pub(super) fn of_valid(text: &str) -> Self {
        Self(text.to_ascii_lowercase().into())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        problem(text).map_or_else(
            || Ok(Self::of_valid(text)),
            |problem| Err(DigestError { text: excerpt(text, QUOTED_CHARACTERS), problem }),
        )
    }
}

/// What keeps `text` from being a digest (OCI image-spec, descriptor.md#digests).
pub(super) fn problem(text: &str) -> Option<&'static str> {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return Some("expected ALGORITHM:HEX, such as sha256:...");
    };
    // However it is written: it is kept in lower case, and then read back.
    let known = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
    let known = known.into_iter().find(|(name, _)| algorithm.eq_ignore_ascii_case(name));
    let algorithm_is_plain =
        !algorithm.is_empty() && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b));
    if !algorithm_is_plain {
        Some("its algorithm has other characters than letters, digits and +._-")
    } else if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        Some("what follows the colon is not hexadecimal")
    } else if algorithm.len() > ALGORITHM_BYTES_MAX {
        Some("its algorithm is longer than 32 characters")
    } else if known.is_some_and(|(_, length)| hex.len() != length) {
        Some("its length is not that of its algorithm (sha256: 64, sha384: 96, sha512: 128 hexadecimal digits)")
    } else if !(32..=256).contains(&hex.len()) {
        Some("it has fewer than 32 or more than 256 hexadecimal digits")
    } else {
        None
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}
