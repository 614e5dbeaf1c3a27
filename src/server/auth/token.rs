//! A token, from its header to its claims: pure.
//!
//! The claims and their meaning: Google's documentation of authenticated push subscriptions. A token is good for any
//! number of deliveries while it lasts.

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::refusal::{Refusal, Refused};

/// As Google writes itself, now and formerly.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// How far Google's clock and ours may be apart, in seconds.
const LEEWAY: i64 = 30;
/// Google's have about 1,000.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Whose tokens are accepted.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) audiences: Vec<String>,
    pub(super) service_accounts: Vec<String>,
}

/// The bearer token of a request.
pub(super) fn of(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoToken)?;
    // Which of two a proxy before us has looked at, nobody knows.
    if values.next().is_some() || value.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::Malformed);
    }
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.trim().split_once(' ').ok_or(Refusal::Malformed)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.contains([' ', '\t', ',']) {
        Ok(token)
    } else {
        Err(Refusal::Malformed)
    }
}

/// The `kid`, by which alone a key is found: whatever else the token's header offers as one is not looked at.
pub(super) fn key_id(token: &str) -> Result<String, Box<Refused>> {
    // An algorithm that the library has not, `none` among them, makes no header either.
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
    // RFC 7515: what is critical must be understood, and nothing is.
    if header.crit.is_some() {
        return Err(Refusal::Malformed.into());
    }
    if header.alg != Algorithm::RS256 {
        return Err(Refusal::Algorithm.into());
    }
    header.kid.filter(|kid| !kid.is_empty()).ok_or_else(|| Refusal::UnknownKey.into())
}

/// Checks the signature, then what the token says. Gives the time until which it is good.
pub(super) fn verify(
    token: &str,
    kid: &str,
    key: &DecodingKey,
    expected: &Expected,
    now: Timestamp,
) -> Result<Timestamp, Box<Refused>> {
    // The signature alone: the claims are checked below, by a clock that is an argument.
    let mut signature_alone = Validation::new(Algorithm::RS256);
    signature_alone.required_spec_claims.clear();
    (signature_alone.validate_exp, signature_alone.validate_aud) = (false, false);
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, key, &signature_alone);
    let claims = decoded.map_err(|error| match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => Refused::with_key_id(Refusal::Malformed, kid),
        _ => Refused::with_key_id(Refusal::Signature, kid),
    })?;
    let claims = claims.claims;
    check(&claims, expected, now).map_err(|refusal| Refused::with_claims(refusal, kid, &claims))
}

fn check(claims: &Map<String, Value>, expected: &Expected, now: Timestamp) -> Result<Timestamp, Refusal> {
    let now = now.as_second();
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let one_of = |name: &str, accepted: &[String]| text(name).is_some_and(|value| accepted.iter().any(|a| a == value));
    if !text("iss").is_some_and(|issuer| ISSUERS.contains(&issuer)) {
        return Err(Refusal::Issuer);
    }
    let expires = claims.get("exp").and_then(Value::as_i64).ok_or(Refusal::Expired)?.saturating_add(LEEWAY);
    if now >= expires {
        return Err(Refusal::Expired);
    }
    // Either may be absent, neither may be anything but a time that has come.
    let has_come = |name: &str| {
        claims.get(name).is_none_or(|time| time.as_i64().is_some_and(|time| time <= now.saturating_add(LEEWAY)))
    };
    if !has_come("nbf") || !has_come("iat") {
        return Err(Refusal::NotYetValid);
    }
    if !one_of("aud", &expected.audiences) {
        return Err(Refusal::Audience);
    }
    if !one_of("email", &expected.service_accounts) {
        return Err(Refusal::Email);
    }
    if claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(Refusal::EmailNotVerified);
    }
    Ok(Timestamp::from_second(expires).unwrap_or(Timestamp::MAX))
}
