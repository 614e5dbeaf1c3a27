//! Why a push is refused: for the log and the metrics, never for the caller.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::excerpt::excerpt;

/// At most one line of each kind in this time: a flood of tokens must not become a flood of lines, and must not hide a
/// refusal of another kind.
const LINE_INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest part of a claim that is logged.
const CLAIM_CHARACTERS: usize = 200;

/// The check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AuthRefusal {
    /// There is no `Authorization` header.
    NoToken,
    /// It is not a bearer token, or not a JWT, or there are two.
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
    /// There are no keys: nothing is known of the token.
    NoKeys,
}

/// A refusal, and what the token claims. Unless its signature is good, anybody can have written that.
#[derive(Debug)]
pub(super) struct RefusedPush {
    pub(super) refusal: AuthRefusal,
    pub(super) kid: Option<String>,
    pub(super) email: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
}

/// Logs refusals at a bounded rate.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<HashMap<AuthRefusal, LastLine>>);

/// When a kind was last logged, and how many have been left out since.
#[derive(Debug)]
struct LastLine {
    at: Timestamp,
    left_out: u64,
}

impl AuthRefusal {
    /// As in the metric and the log.
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

impl RefusedPush {
    pub(super) fn with_key_id(refusal: AuthRefusal, kid: &str) -> Box<Self> {
        let mut refused = Box::<Self>::from(refusal);
        refused.kid = Some(excerpt(kid, CLAIM_CHARACTERS));
        refused
    }

    /// With the claims of a token whose signature is good.
    pub(super) fn with_claims(
        refusal: AuthRefusal,
        kid: &str,
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Box<Self> {
        let claim = |name: &str| {
            let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            claims.get(name).map(|value| excerpt(&text(value), CLAIM_CHARACTERS))
        };
        let mut refused = Self::with_key_id(refusal, kid);
        (refused.email, refused.audience, refused.issuer) = (claim("email"), claim("aud"), claim("iss"));
        refused
    }
}

impl From<AuthRefusal> for Box<RefusedPush> {
    fn from(refusal: AuthRefusal) -> Self {
        Self::new(RefusedPush { refusal, kid: None, email: None, audience: None, issuer: None })
    }
}

impl RefusalLog {
    /// Logs a refusal, unless one of its kind was logged just now.
    pub(super) fn log(&self, refused: &RefusedPush, now: Timestamp) {
        let Some(left_out) = self.due(refused.refusal, now) else { return };
        tracing::warn!(
            check = refused.refusal.as_str(),
            kid = refused.kid.as_deref(),
            email = refused.email.as_deref(),
            aud = refused.audience.as_deref(),
            iss = refused.issuer.as_deref(),
            not_logged_before = (left_out > 0).then_some(left_out),
            "a push was refused: {}",
            refused.refusal.sentence()
        );
    }

    /// If this one is to be logged: how many before it were left out.
    fn due(&self, refusal: AuthRefusal, now: Timestamp) -> Option<u64> {
        let mut kinds = self.0.lock();
        let Some(last) = kinds.get_mut(&refusal) else {
            kinds.insert(refusal, LastLine { at: now, left_out: 0 });
            return Some(0);
        };
        // `abs`: a clock that was set back does not silence the log.
        if now.duration_since(last.at).abs() < LINE_INTERVAL {
            last.left_out += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_logged_once_in_its_time_and_what_was_left_out_is_counted() {
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let log = RefusalLog::default();
        assert_eq!(log.due(AuthRefusal::NoToken, at(0)), Some(0));
        assert_eq!(log.due(AuthRefusal::NoToken, at(1)), None);
        assert_eq!(log.due(AuthRefusal::Audience, at(1)), Some(0));
        assert_eq!(log.due(AuthRefusal::NoToken, at(9)), None);
        assert_eq!(log.due(AuthRefusal::NoToken, at(10)), Some(2));
        assert_eq!(log.due(AuthRefusal::NoToken, at(-100)), Some(0));
    }
}
