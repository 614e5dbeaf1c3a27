//! Authentication of pushes: a push needs a token that Google has signed for one of our audiences and one of our accounts.
//!
//! A request is judged by its headers alone, before a byte of its body is read. To the caller every refusal looks the
//! same; the log and the metrics name the check that failed. It must not know what a push is.

mod args;
mod freshness;
mod key_set;
mod metrics;
mod refusal;
mod signing_keys;
mod token;
mod verified_tokens;

use axum::http::{HeaderMap, StatusCode, Uri};
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use crate::clock::Clock;
pub use args::{AuthArgs, AuthArgsError};
pub(super) use metrics::AuthMetrics;
use refusal::{AuthRefusal, RefusalLog, RefusedPush};
use signing_keys::SigningKeys;
pub(super) use signing_keys::SigningKeysStatus;
use token::Expected;

/// The URL of Google's keys.
pub const GOOGLE_JWKS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// Which tokens are accepted.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `aud` must be one of these.
    pub audiences: Vec<String>,
    /// `email` must be one of these.
    pub service_accounts: Vec<String>,
    /// The URL of the signing keys ([`GOOGLE_JWKS_URL`]).
    pub jwks_url: Uri,
}

/// Checks the token of every push.
#[derive(Debug)]
pub(crate) struct Authenticator {
    expected: Expected,
    signing_keys: SigningKeys,
    refusals: RefusalLog,
    clock: Clock,
    metrics: AuthMetrics,
}

impl Authenticator {
    pub(super) fn new(config: AuthConfig, clock: Clock, metrics: AuthMetrics) -> Self {
        Self {
            expected: Expected { audiences: config.audiences, service_accounts: config.service_accounts },
            signing_keys: SigningKeys::new(config.jwks_url, clock, metrics.clone()),
            refusals: RefusalLog::default(),
            clock,
            metrics,
        }
    }

    /// Keeps the signing keys fresh until `end`.
    pub(super) async fn run(&self, end: CancellationToken) {
        end.run_until_cancelled(self.signing_keys.keep_fresh()).await;
    }

    pub(super) fn signing_keys(&self) -> SigningKeysStatus {
        self.signing_keys.status()
    }

    /// Whether the request may push; the answer where it may not.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let refused = self.judge(headers).await.err();
        self.metrics.count_check(refused.as_ref().map(|refused| refused.refusal));
        match refused {
            None => Ok(()),
            Some(refused) => {
                self.refusals.log(&refused, self.clock.now());
                Err(problem(refused.refusal))
            }
        }
    }

    async fn judge(&self, headers: &HeaderMap) -> Result<(), Box<RefusedPush>> {
        let token = token::of(headers)?;
        let now = self.clock.now();
        let mut keys = self.signing_keys.current(now).ok_or(AuthRefusal::NoKeys)?;
        let fingerprint = verified_tokens::fingerprint(token);
        if keys.verified.contains(&fingerprint, now) {
            return Ok(());
        }
        let kid = token::key_id(token)?;
        let unknown_key = || RefusedPush::with_key_id(AuthRefusal::UnknownKey, &kid);
        if keys.key(&kid).is_none() {
            keys = self.signing_keys.renewed(&keys, now).await.ok_or_else(unknown_key)?;
        }
        let key = keys.key(&kid).ok_or_else(unknown_key)?;
        let until = token::verify(token, &kid, key, &self.expected, now)?;
        keys.verified.insert(fingerprint, until, now);
        Ok(())
    }
}

/// The same for every token that is not accepted: the reason would help an attacker.
fn problem(refusal: AuthRefusal) -> Problem {
    match refusal {
        AuthRefusal::NoKeys => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not ready",
            "there are no keys to check tokens with now; this push was not handled",
        ),
        _ => Problem::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "this endpoint takes pushes of its own subscription alone; the log of pushroll tells what was refused",
        ),
    }
}
