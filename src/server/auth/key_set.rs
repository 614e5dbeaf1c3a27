//! The keys of a JWKS (RFC 7517): the RSA keys that may sign our tokens, by their `kid`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use super::verified_tokens::VerifiedTokens;

/// The length of the modulus: shorter keys can be broken, longer ones cost time.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Issuers have a handful.
const KEYS_MAX: usize = 100;

/// Keys, and the tokens that were verified with them: with new keys they are verified anew.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: HashMap<String, DecodingKey>,
    pub(super) verified: VerifiedTokens,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The members of a key that we look at.
#[derive(Deserialize)]
struct RsaKey {
    kty: String,
    kid: String,
    n: String,
    e: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

impl KeySet {
    /// Reads a document; keys of another kind or length, or for another purpose, are left out.
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(document).map_err(|error| format!("no JWKS: {error}"))?;
        let keys = document.keys.into_iter().filter_map(usable).take(KEYS_MAX).collect::<HashMap<_, _>>();
        if keys.is_empty() {
            return Err(format!("a JWKS without an RSA key of {MODULUS_BITS:?} bits for RS256"));
        }
        Ok(Self { keys, verified: VerifiedTokens::default() })
    }

    pub(super) fn key(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys.get(kid)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

fn usable(key: Value) -> Option<(String, DecodingKey)> {
    let key: RsaKey = serde_json::from_value(key).ok()?;
    let for_us = key.kty == "RSA"
        && key.alg.is_none_or(|algorithm| algorithm == "RS256")
        && key.purpose.is_none_or(|purpose| purpose == "sig");
    let modulus = URL_SAFE_NO_PAD.decode(key.n).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(key.e).ok()?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let bits = modulus.len().saturating_sub(leading) * 8 - modulus.get(leading)?.leading_zeros() as usize;
    let fits = for_us && MODULUS_BITS.contains(&bits);
    fits.then(|| (key.kid, DecodingKey::from_rsa_raw_components(&modulus, &exponent)))
}
