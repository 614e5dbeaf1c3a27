//! The issuer's keys: fetched off the request path, ahead of their expiry, one fetch at a time.
//!
//! They are used for up to [`KEEP`] beyond their expiry while the issuer cannot be reached: losing genuine pushes would be
//! worse than accepting a key that was withdrawn in the last hours.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::http::{Request, StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::freshness::lifetime;
use super::key_set::KeySet;
use super::metrics::AuthMetrics;
use crate::clock::Clock;
use crate::error_chain::with_causes;
use crate::http_client::{Limits, exchange};

/// A document of Google's is about 1,500 bytes.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), bytes: 256 * 1024 };
/// How long keys are used after they have expired.
const KEEP: SignedDuration = SignedDuration::from_hours(24);
/// The least time between two fetches for an unknown `kid`: anybody can make one up.
const UNKNOWN_KEY_COOLDOWN: SignedDuration = SignedDuration::from_secs(30);
/// The longest wait of a push for such a fetch. `--hold` comes on top, and Pub/Sub waits ten seconds for both.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(1);
/// The longest pause after a fetch that failed, in seconds.
const BACKOFF_MAX: i64 = 60;
/// How often the clock is read: a timer does not notice that the clock was set, or that the machine has slept.
const TICK: Duration = Duration::from_secs(1);

/// Keys, and until when they may be used.
#[derive(Debug)]
pub(super) struct FetchedKeys {
    keys: KeySet,
    fetched_at: Timestamp,
    fresh_until: Timestamp,
    usable_until: Timestamp,
}

/// The keys in use, and their renewal.
#[derive(Debug)]
pub(super) struct SigningKeys {
    url: Uri,
    clock: Clock,
    metrics: AuthMetrics,
    fetched: ArcSwapOption<FetchedKeys>,
    /// Why the last fetch failed, if it did.
    error: Mutex<Option<String>>,
    asked: Mutex<Asked>,
    wanted: Notify,
    /// How many fetches have ended.
    attempts: watch::Sender<u64>,
}

/// Fetches for an unknown `kid`.
#[derive(Debug, Default)]
struct Asked {
    last: Option<Timestamp>,
    is_pending: bool,
}

/// As `/v1/status` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct SigningKeysStatus {
    pub(crate) usable: bool,
    keys: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usable_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl std::ops::Deref for FetchedKeys {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        &self.keys
    }
}

impl SigningKeys {
    pub(super) fn new(url: Uri, clock: Clock, metrics: AuthMetrics) -> Self {
        Self {
            url,
            clock,
            metrics,
            fetched: ArcSwapOption::empty(),
            error: Mutex::default(),
            asked: Mutex::default(),
            wanted: Notify::new(),
            attempts: watch::Sender::new(0),
        }
    }

    /// The keys, if there are any that may be used still.
    pub(super) fn current(&self, now: Timestamp) -> Option<Arc<FetchedKeys>> {
        self.fetched.load_full().filter(|fetched| now < fetched.usable_until)
    }

    /// Newer keys than `known`, which lack one that is needed; `None` if there are none now.
    pub(super) async fn renewed(&self, known: &Arc<FetchedKeys>, now: Timestamp) -> Option<Arc<FetchedKeys>> {
        let other = || self.current(now).filter(|current| !Arc::ptr_eq(current, known));
        let mut attempts = self.attempts.subscribe();
        if let Some(renewed) = other() {
            return Some(renewed);
        }
        if !self.ask(now) {
            return None;
        }
        let _ = tokio::time::timeout(UNKNOWN_KEY_WAIT, attempts.changed()).await;
        other()
    }

    /// Asks for a fetch because of an unknown `kid`. Says whether one is under way.
    fn ask(&self, now: Timestamp) -> bool {
        let mut asked = self.asked.lock();
        if asked.is_pending {
            return true;
        }
        // A clock that was set back does not prolong the cooldown.
        if asked.last.is_some_and(|last| now.duration_since(last).abs() < UNKNOWN_KEY_COOLDOWN) {
            return false;
        }
        *asked = Asked { last: Some(now), is_pending: true };
        self.wanted.notify_one();
        true
    }

    /// Fetches now, and from then on whenever it is due. Never ends.
    pub(super) async fn keep_fresh(&self) {
        let mut failures = 0;
        loop {
            let due = match self.fetch().await {
                Ok(due) => {
                    failures = 0;
                    due
                }
                Err(error) => {
                    self.failed(error);
                    let backoff = (1_i64 << failures).min(BACKOFF_MAX);
                    failures = (failures + 1).min(6);
                    later(self.clock.now(), SignedDuration::from_secs(backoff))
                }
            };
            self.asked.lock().is_pending = false;
            self.attempts.send_modify(|attempts| *attempts += 1);
            self.until(due).await;
        }
    }

    /// Waits until a fetch is due, or a push needs a key.
    async fn until(&self, due: Timestamp) {
        loop {
            let left = Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(TICK)) => {}
                // A push that asked during the last fetch has been served by it.
                () = self.wanted.notified() => if self.asked.lock().is_pending { return },
            }
        }
    }

    /// Fetches the keys. Returns when the next fetch is due: after four fifths of their lifetime.
    async fn fetch(&self) -> Result<Timestamp, String> {
        let request = Request::get(self.url.clone()).header(header::ACCEPT, "application/json");
        let request = request.body(http_body_util::Full::default()).map_err(|error| error.to_string())?;
        let response = exchange(request, LIMITS).await.map_err(|error| with_causes(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("{} answers {}", self.url, response.status()));
        }
        let keys = KeySet::parse(response.body()).map_err(|error| format!("{} answers with {error}", self.url))?;
        let now = self.clock.now();
        let lifetime = SignedDuration::try_from(lifetime(response.headers(), now)).unwrap_or(SignedDuration::ZERO);
        let fresh_until = later(now, lifetime);
        let count = keys.len();
        self.metrics.keys_fetched(fresh_until);
        let fetched = FetchedKeys { keys, fetched_at: now, fresh_until, usable_until: later(fresh_until, KEEP) };
        let is_first = self.fetched.swap(Some(Arc::new(fetched))).is_none();
        if self.error.lock().take().is_some() || is_first {
            tracing::info!(url = %self.url, keys = count, %fresh_until, "the signing keys were fetched");
        }
        Ok(later(now, lifetime * 4 / 5))
    }

    fn failed(&self, error: String) {
        self.metrics.keys_not_fetched();
        let previous = self.error.lock().replace(error.clone());
        if previous.as_ref() == Some(&error) {
            return;
        }
        match self.fetched.load().as_deref() {
            None => {
                tracing::warn!("the signing keys cannot be fetched, and pushes are not taken until they are: {error}")
            }
            Some(kept) => tracing::warn!(
                usable_until = %kept.usable_until,
                "the signing keys cannot be fetched anew; those at hand are used: {error}"
            ),
        }
    }

    pub(super) fn status(&self) -> SigningKeysStatus {
        let fetched = self.fetched.load();
        let fetched = fetched.as_deref();
        SigningKeysStatus {
            usable: self.current(self.clock.now()).is_some(),
            keys: fetched.map_or(0, |fetched| fetched.keys.len()),
            fetched_at: fetched.map(|fetched| fetched.fetched_at),
            fresh_until: fetched.map(|fetched| fetched.fresh_until),
            usable_until: fetched.map(|fetched| fetched.usable_until),
            error: self.error.lock().clone(),
        }
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
