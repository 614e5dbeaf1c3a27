//! Why a push is not taken: for the log and the metrics, never for the caller.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::excerpt::excerpt;

/// One line of each kind in this time: a flood of tokens must not become a flood of lines, and must not hide another
/// kind.
const LINE_INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// Of a claim, in the log.
const CLAIM_CHARACTERS: usize = 200;

/// The check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// There is no `Authorization` header.
    NoToken,
    /// It is no bearer token, or no JWT, or there are two.
    Malformed,
    /// Anything but RS256.
    Algorithm,
    /// No key of the JWKS has this `kid`.
    UnknownKey,
    /// The key did not sign this.
    Signature,
    /// `exp`
    Expired,
    /// `nbf`, `iat`
    NotYetValid,
    /// `iss`
    Issuer,
    /// `aud`
    Audience,
    /// `email`
    Email,
    /// `email_verified`
    EmailNotVerified,
    /// Nothing is wrong with the token as far as we know: there are no keys.
    NoKeys,
}

/// A refusal, and what the token says of itself. Before the signature is checked anybody can have written that.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) kid: Option<String>,
    pub(super) email: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
}

/// Log lines at a bounded rate.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<HashMap<Refusal, Told>>);

/// When a kind was told last, and how many were not told since.
#[derive(Debug)]
struct Told {
    at: Timestamp,
    untold: u64,
}

impl Refusal {
    /// As the metric has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Email => "email",
            Self::EmailNotVerified => "email_not_verified",
            Self::NoKeys => "no_keys",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NoToken => "it has no token: does the subscription authenticate (--push-auth-service-account)?",
            Self::Malformed => "its Authorization header is not one bearer token that is a JWT",
            Self::Algorithm => "its token is not signed with RS256",
            Self::UnknownKey => "its token names a key that the JWKS does not have",
            Self::Signature => "its token was not signed by the key that it names",
            Self::Expired => "its token has expired",
            Self::NotYetValid => "its token is not valid yet; is our clock right?",
            Self::Issuer => "its token is not Google's by its issuer",
            Self::Audience => "its token is for another audience; --audience names ours",
            Self::Email => "its token is of another account; --service-account names ours",
            Self::EmailNotVerified => "the email of its token is not verified",
            Self::NoKeys => "there are no keys to check its token with; it may come again",
        }
    }
}

impl Refused {
    pub(super) fn with_key_id(refusal: Refusal, kid: &str) -> Box<Self> {
        let mut refused = Box::<Self>::from(refusal);
        refused.kid = Some(excerpt(kid, CLAIM_CHARACTERS));
        refused
    }

    /// With the claims of a token whose signature is good.
    pub(super) fn with_claims(
        refusal: Refusal,
        kid: &str,
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Box<Self> {
        let claim = |name: &str| {
            let told = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            claims.get(name).map(|value| excerpt(&told(value), CLAIM_CHARACTERS))
        };
        let mut refused = Self::with_key_id(refusal, kid);
        (refused.email, refused.audience, refused.issuer) = (claim("email"), claim("aud"), claim("iss"));
        refused
    }
}

impl From<Refusal> for Box<Refused> {
    fn from(refusal: Refusal) -> Self {
        Self::new(Refused { refusal, kid: None, email: None, audience: None, issuer: None })
    }
}

impl RefusalLog {
    /// Logs a refusal, unless one of its kind was logged just now.
    pub(super) fn tell(&self, refused: &Refused, now: Timestamp) {
        let Some(untold) = self.turn(refused.refusal, now) else { return };
        tracing::warn!(
            check = refused.refusal.as_str(),
            kid = refused.kid.as_deref(),
            email = refused.email.as_deref(),
            aud = refused.audience.as_deref(),
            iss = refused.issuer.as_deref(),
            not_logged_before = (untold > 0).then_some(untold),
            "a push was refused: {}",
            refused.refusal.sentence()
        );
    }

    /// Whether this one is told, and how many before it were not.
    fn turn(&self, refusal: Refusal, now: Timestamp) -> Option<u64> {
        let mut kinds = self.0.lock();
        let Some(told) = kinds.get_mut(&refusal) else {
            kinds.insert(refusal, Told { at: now, untold: 0 });
            return Some(0);
        };
        // A clock that was set back does not silence it.
        if now.duration_since(told.at).abs() < LINE_INTERVAL {
            told.untold += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_once_in_its_time_and_what_was_left_out_is_counted() {
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let log = RefusalLog::default();
        assert_eq!(log.turn(Refusal::NoToken, at(0)), Some(0));
        assert_eq!(log.turn(Refusal::NoToken, at(1)), None);
        assert_eq!(log.turn(Refusal::Audience, at(1)), Some(0));
        assert_eq!(log.turn(Refusal::NoToken, at(9)), None);
        assert_eq!(log.turn(Refusal::NoToken, at(10)), Some(2));
        assert_eq!(log.turn(Refusal::NoToken, at(-100)), Some(0));
    }
}
