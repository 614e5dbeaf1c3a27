//! The gate before the API server: so many calls at once and no more, over everything that pushroll does, and none
//! while the API server asks to be left alone.
//!
//! A call holds one place for as long as it is made, body included, and whoever holds one waits for nothing else, so
//! that places cannot be waited for in a circle. They are given in the order in which they were asked for: a scan of
//! many pages and a push of many workloads take turns. LISTs, which may take long, have at most half of the places. A
//! watch is a request without an end, and has none: it would never give it back.
//!
//! What the API server says with 429, or with 503 and `Retry-After`, it says to all of us: priority and fairness knows
//! one service account, not one call. So every call waits until then.

use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::allowance::{self, WaitsFor};
use super::error::ApiError;
use crate::clock::parse_date;
use crate::telemetry::Metrics;

/// Calls at once, where nobody says otherwise: enough for a hundred workloads in a fraction of a second, and few
/// beside the 600 that an API server takes by default (`--max-requests-inflight` and its mutating sister).
pub const DEFAULT_CONCURRENCY: usize = 16;
/// Longest wait for a place, where nothing else sets an end. Each place is free again after [`super::request`]'s time
/// limits, so this is long only where the API server hangs.
const PLACE_LIMIT: Duration = Duration::from_secs(60);
/// The shortest, and that of a 429 that does not say (Kubernetes' own say 1 s at least).
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);
/// The longest: a mistyped header must not silence us for a day.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Which calls may be made now.
#[derive(Debug)]
pub(super) struct Gate {
    concurrency: usize,
    places: Semaphore,
    lists: Semaphore,
    /// The API server wants to hear nothing before.
    paused_until: Mutex<Option<Instant>>,
}

/// A place: one call may be made.
pub(super) struct Place<'a> {
    _list: Option<SemaphorePermit<'a>>,
    _place: SemaphorePermit<'a>,
    metrics: &'a Metrics,
}

/// How long a call may take to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    place: Instant,
    pause: Instant,
}

/// Counts those that wait.
struct Waiting<'a>(&'a Metrics);

impl Gate {
    pub(super) fn new(concurrency: usize) -> Self {
        let lists = (concurrency / 2).max(1);
        let (places, lists) = (Semaphore::new(concurrency), Semaphore::new(lists));
        Self { concurrency, places, lists, paused_until: Mutex::default() }
    }

    /// Waits for a place, and until the API server wants to hear of us.
    ///
    /// # Errors
    /// [`ApiError::NoPlace`] or [`ApiError::TooBusy`]: nothing was asked.
    pub(super) async fn enter<'a>(
        &'a self,
        is_list: bool,
        patience: Patience,
        metrics: &'a Metrics,
    ) -> Result<Place<'a>, ApiError> {
        metrics.kubernetes_calls_waiting.inc();
        let _waiting = Waiting(metrics);
        let began = Instant::now();
        loop {
            self.pause_over(patience).await?;
            let waited = WaitsFor::Place(self.concurrency);
            let places = async {
                // Never closed. First the narrower one: who holds a place waits for nothing.
                let list = if is_list { self.lists.acquire().await.ok() } else { None };
                self.places.acquire().await.ok().map(|place| (list, place))
            };
            let places = tokio::time::timeout_at(patience.place.into(), allowance::waiting_for(waited, places)).await;
            let Ok(Some((list, place))) = places else {
                return Err(ApiError::NoPlace { waited: began.elapsed(), concurrency: self.concurrency });
            };
            // It may have been told while we stood in line.
            if self.pause().is_none() {
                metrics.kubernetes_calls_in_flight.inc();
                return Ok(Place { _list: list, _place: place, metrics });
            }
        }
    }

    /// Waits until the API server wants to hear of us.
    ///
    /// # Errors
    /// [`ApiError::TooBusy`]: that is too late.
    pub(super) async fn pause_over(&self, patience: Patience) -> Result<(), ApiError> {
        while let Some(pause) = self.pause() {
            patience.again_after(pause, "it has asked to be left alone")?;
            allowance::waiting_for(WaitsFor::Pause, tokio::time::sleep(pause)).await;
        }
        Ok(())
    }

    /// Learns from an answer whether the API server wants to be left alone, and for how long.
    pub(super) fn told(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let pause = asked_pause(status, headers)?;
        let until = Instant::now() + pause;
        let mut paused_until = self.paused_until.lock();
        *paused_until = paused_until.max(Some(until));
        Some(pause)
    }

    fn pause(&self) -> Option<Duration> {
        let until = (*self.paused_until.lock())?;
        until.checked_duration_since(Instant::now()).filter(|pause| !pause.is_zero())
    }
}

/// 429, and what else says when to come again and was not begun: a 500 or 504 with `Retry-After` may have been.
fn asked_pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let date = |text| parse_date(text);
    let asked = header(header::RETRY_AFTER).and_then(|after| match after.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // RFC 9110, 10.2.3: or a date; that of the same answer is by the same clock.
        Err(_) => date(after)?.duration_since(date(header(header::DATE)?)?).try_into().ok(),
    });
    let pause = match status {
        StatusCode::TOO_MANY_REQUESTS => asked.unwrap_or(PAUSE_DEFAULT),
        StatusCode::SERVICE_UNAVAILABLE => asked?,
        _ => return None,
    };
    // Whoever says 0 would be asked thousands of times in the time of one call.
    Some(pause.clamp(PAUSE_DEFAULT, PAUSE_MAX))
}

/// Not to be asked again in the time that there is.
fn too_busy(said: impl std::fmt::Display, pause: Duration) -> ApiError {
    let seconds = pause.as_secs_f64();
    ApiError::TooBusy(format!("{said}; it is not to be asked again for {seconds:.1} s, and there is no time for that"))
}

impl Patience {
    /// Until the end of what the task is allowed; for a pause no longer than the call itself may take (`limit`): an API
    /// server that asks for one after the other has no time for us, and the next delivery may find it better.
    pub(super) fn of(limit: Duration) -> Self {
        let (now, deadline) = (Instant::now(), allowance::deadline());
        let until = |limit| deadline.map_or(now + limit, |deadline| deadline.min(now + limit));
        // Whoever has set a deadline keeps it, and knows then that it was in line.
        Self { place: now.max(deadline.unwrap_or(now)) + PLACE_LIMIT, pause: until(limit) }
    }

    /// Whether to ask again after a pause.
    ///
    /// # Errors
    /// What it said, as [`ApiError::TooBusy`]: that is too late.
    pub(super) fn again_after(&self, pause: Duration, said: impl std::fmt::Display) -> Result<(), ApiError> {
        if Instant::now() + pause < self.pause { Ok(()) } else { Err(too_busy(said, pause)) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.metrics.kubernetes_calls_in_flight.dec();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.kubernetes_calls_waiting.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(status: u16, headers: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap()));
        asked_pause(StatusCode::from_u16(status).unwrap(), &headers.collect()).map(|pause| pause.as_secs())
    }

    #[test]
    fn what_the_api_server_asks_for_is_read() {
        assert_eq!(pause(429, &[("retry-after", "3")]), Some(3));
        assert_eq!(pause(503, &[("retry-after", " 3 ")]), Some(3));
        assert_eq!(pause(429, &[]), Some(1));
        assert_eq!(pause(503, &[("retry-after", "0")]), Some(1));
        assert_eq!(pause(429, &[("retry-after", "99999")]), Some(30));
        assert_eq!(pause(429, &[("retry-after", "soon")]), Some(1));
        assert_eq!(pause(429, &[("retry-after", "-5")]), Some(1));
        for (status, headers) in [(503, vec![]), (500, vec![("retry-after", "3")]), (200, vec![("retry-after", "3")])] {
            assert_eq!(pause(status, &headers), None, "{status}");
        }
        let date = [("date", "Sat, 21 Nov 2026 10:00:00 GMT"), ("retry-after", "Sat, 21 Nov 2026 10:00:07 GMT")];
        assert_eq!(pause(503, &date), Some(7));
        let past = [("date", "Sat, 21 Nov 2026 10:00:09 GMT"), ("retry-after", "Sat, 21 Nov 2026 10:00:07 GMT")];
        assert_eq!(pause(503, &past), None);
    }

    #[tokio::test]
    async fn lists_leave_places_to_others() {
        let (gate, metrics) = (Gate::new(4), Metrics::new());
        let patience = || Patience { place: Instant::now(), pause: Instant::now() };
        let lists = [gate.enter(true, patience(), &metrics).await, gate.enter(true, patience(), &metrics).await];
        assert!(lists.iter().all(Result::is_ok));
        let third = gate.enter(true, patience(), &metrics).await;
        assert!(matches!(third, Err(ApiError::NoPlace { concurrency: 4, .. })));
        let others = [gate.enter(false, patience(), &metrics).await, gate.enter(false, patience(), &metrics).await];
        assert!(others.iter().all(Result::is_ok));
        assert_eq!((metrics.kubernetes_calls_in_flight.get(), metrics.kubernetes_calls_waiting.get()), (4, 0));
        assert!(matches!(gate.enter(false, patience(), &metrics).await, Err(ApiError::NoPlace { .. })));
        drop((lists, others));
        assert_eq!(metrics.kubernetes_calls_in_flight.get(), 0);
        assert!(gate.enter(true, patience(), &metrics).await.is_ok());
    }
}
