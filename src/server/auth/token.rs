//! The check of a token, from its header to its claims: pure.
//!
//! Google's documentation of authenticated push subscriptions explains the claims. A token is good for any number of
//! deliveries until it expires.

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::refusal::{AuthRefusal, RefusedPush};

/// Google's names of itself: the one in use and the older one.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// How much Google's clock and ours may differ, in seconds.
const LEEWAY: i64 = 30;
/// Google's tokens have about 1,000.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Which claims are accepted.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) audiences: Vec<String>,
    pub(super) service_accounts: Vec<String>,
}

/// The bearer token of a request.
pub(super) fn of(headers: &HeaderMap) -> Result<&str, AuthRefusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthRefusal::NoToken)?;
    // Of two, a proxy in front of us may have looked at the other.
    if values.next().is_some() || value.len() > TOKEN_BYTES_MAX {
        return Err(AuthRefusal::Malformed);
    }
    let text = value.to_str().map_err(|_| AuthRefusal::Malformed)?;
    let (scheme, token) = text.trim().split_once(' ').ok_or(AuthRefusal::Malformed)?;
    let token = token.trim();
    // Without an early exit the compiler looks at many bytes at once: this is part of every push.
    let is_one = token.bytes().fold(true, |is_one, byte| is_one & !matches!(byte, b' ' | b'\t' | b','));
    if scheme.eq_ignore_ascii_case("bearer") && is_one { Ok(token) } else { Err(AuthRefusal::Malformed) }
}

/// The `kid`. Keys are found by it alone; a key that the header itself brings along is not looked at.
pub(super) fn key_id(token: &str) -> Result<String, Box<RefusedPush>> {
    // Algorithms that the library does not know, `none` among them, are an error here, too.
    let header = jsonwebtoken::decode_header(token).map_err(|_| AuthRefusal::Malformed)?;
    // RFC 7515: a critical extension must be understood, and we understand none.
    if header.crit.is_some() {
        return Err(AuthRefusal::Malformed.into());
    }
    if header.alg != Algorithm::RS256 {
        return Err(AuthRefusal::Algorithm.into());
    }
    header.kid.filter(|kid| !kid.is_empty()).ok_or_else(|| AuthRefusal::UnknownKey.into())
}

/// Checks the signature, then the claims. Returns the time until which the token is good.
pub(super) fn verify(
    token: &str,
    kid: &str,
    key: &DecodingKey,
    expected: &Expected,
    now: Timestamp,
) -> Result<Timestamp, Box<RefusedPush>> {
    // Only the signature: the claims are checked below, by a clock that is an argument.
    let mut signature_alone = Validation::new(Algorithm::RS256);
    signature_alone.required_spec_claims.clear();
    (signature_alone.validate_exp, signature_alone.validate_aud) = (false, false);
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, key, &signature_alone);
    let claims = decoded.map_err(|error| match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => RefusedPush::with_key_id(AuthRefusal::Malformed, kid),
        _ => RefusedPush::with_key_id(AuthRefusal::Signature, kid),
    })?;
    let claims = claims.claims;
    check(&claims, expected, now).map_err(|refusal| RefusedPush::with_claims(refusal, kid, &claims))
}

fn check(claims: &Map<String, Value>, expected: &Expected, now: Timestamp) -> Result<Timestamp, AuthRefusal> {
    let now = now.as_second();
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let one_of = |name: &str, accepted: &[String]| text(name).is_some_and(|value| accepted.iter().any(|a| a == value));
    if !text("iss").is_some_and(|issuer| ISSUERS.contains(&issuer)) {
        return Err(AuthRefusal::Issuer);
    }
    let expires = claims.get("exp").and_then(Value::as_i64).ok_or(AuthRefusal::Expired)?.saturating_add(LEEWAY);
    if now >= expires {
        return Err(AuthRefusal::Expired);
    }
    // Either may be absent; one that is there must be a time that has passed.
    let has_passed = |name: &str| {
        claims.get(name).is_none_or(|time| time.as_i64().is_some_and(|time| time <= now.saturating_add(LEEWAY)))
    };
    if !has_passed("nbf") || !has_passed("iat") {
        return Err(AuthRefusal::NotYetValid);
    }
    if !one_of("aud", &expected.audiences) {
        return Err(AuthRefusal::Audience);
    }
    if !one_of("email", &expected.service_accounts) {
        return Err(AuthRefusal::Email);
    }
    if claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(AuthRefusal::EmailNotVerified);
    }
    Ok(Timestamp::from_second(expires).unwrap_or(Timestamp::MAX))
}
