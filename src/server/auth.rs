//! Who may push: whoever holds a token that Google has signed for one of our audiences and one of our accounts.
//!
//! A request is judged by its headers alone, before a byte of its body is read. To the caller every refusal looks the
//! same; the log and the metrics tell which check has failed. It must not know what a push is.

mod args;
mod freshness;
mod key_set;
mod refusal;
mod signing_keys;
mod token;
mod verified_tokens;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use crate::clock::Clock;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::AuthLabel;
pub use args::{AuthArgs, AuthArgsError};
use refusal::{Refusal, RefusalLog, Refused};
use signing_keys::SigningKeys;
pub(super) use signing_keys::SigningKeysStatus;
use token::Expected;

/// Where Google's keys are.
pub const GOOGLE_JWKS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// Who may push.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `aud` must be one of these.
    pub audiences: Vec<String>,
    /// `email` must be one of these.
    pub service_accounts: Vec<String>,
    /// Where the signing keys are ([`GOOGLE_JWKS_URL`]).
    pub jwks_url: Uri,
}

/// The check of every push.
#[derive(Debug)]
pub(crate) struct Authenticator {
    expected: Expected,
    signing_keys: SigningKeys,
    refusals: RefusalLog,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Authenticator {
    pub(super) fn new(config: AuthConfig, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            expected: Expected { audiences: config.audiences, service_accounts: config.service_accounts },
            signing_keys: SigningKeys::new(config.jwks_url, clock, Arc::clone(&metrics)),
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
        let (result, answer) = match self.judge(headers).await {
            Ok(()) => ("accepted", Ok(())),
            Err(refused) => {
                self.refusals.tell(&refused, self.clock.now());
                (refused.refusal.as_str(), Err(problem(refused.refusal)))
            }
        };
        self.metrics.auth.get_or_create(&AuthLabel { result }).inc();
        answer
    }

    async fn judge(&self, headers: &HeaderMap) -> Result<(), Box<Refused>> {
        let token = token::of(headers)?;
        let now = self.clock.now();
        let mut keys = self.signing_keys.current(now).ok_or(Refusal::NoKeys)?;
        let fingerprint = verified_tokens::fingerprint(token);
        if keys.verified.contains(&fingerprint, now) {
            return Ok(());
        }
        let kid = token::key_id(token)?;
        if keys.key(&kid).is_none() {
            let renewed = self.signing_keys.renewed(&keys, now).await;
            keys = renewed.ok_or_else(|| Refused::with_key_id(Refusal::UnknownKey, &kid))?;
        }
        let key = keys.key(&kid).ok_or_else(|| Refused::with_key_id(Refusal::UnknownKey, &kid))?;
        let until = token::verify(token, &kid, key, &self.expected, now)?;
        keys.verified.insert(fingerprint, until, now);
        Ok(())
    }
}

/// The same for every token that is not accepted: what is wrong with it would help whoever is trying.
fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoKeys => Problem::new(
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
