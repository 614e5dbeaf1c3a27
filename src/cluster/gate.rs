//! The gate before the API server: a limited number of calls at once, over everything that pushroll does, and no call
//! while the API server asks for a pause.
//!
//! A call holds one permit from its first byte to the last byte of the answer; a write that takes very long returns it
//! for one of a few places apart ([`super::slow_write`]). Nothing that holds a permit waits for
//! anything else, so there is no deadlock. Permits are given in the order in which they were asked for, so a scan of
//! many pages and a push of many workloads alternate. LISTs, which may take long, have at most half of the permits. A
//! watch is a request without an end and has none: it would never return it.
//!
//! A pause that the API server asks for (429, or 503 with `Retry-After`) is meant for all our calls, because its
//! priority and fairness knows the service account and not the single call. So every call waits for its end. One that an
//! Event is answered with is meant for Events alone: an API server may limit them apart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call_deadline::{self, WaitsFor};
use super::error::ApiError;
use super::metrics::ClusterMetrics;
use crate::clock::parse_date;
use crate::telemetry::GaugeGuard;

/// The default of `--concurrency`: enough for a hundred workloads in a fraction of a second, and few beside the 600
/// that an API server takes by default (`--max-requests-inflight` and `--max-mutating-requests-inflight`).
pub const DEFAULT_CONCURRENCY: usize = 16;
/// Writes that an admission webhook may hold up at once, beside the calls. At most half of the permits: a restart that
/// waits for such a write is one of `--concurrency` workloads that are worked on.
const SLOW_WRITES_MAX: usize = 8;
/// The longest wait for a permit where there is no deadline. Each permit is returned within the time limits of
/// [`super::request`], so the wait is this long only where the API server hangs.
const PERMIT_LIMIT: Duration = Duration::from_secs(60);
/// The shortest pause, and that of a 429 without `Retry-After` (Kubernetes itself says 1 s at least).
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);
/// The longest pause: a mistyped header must not silence us for a day.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Decides when a call may begin.
#[derive(Debug)]
pub(super) struct Gate {
    concurrency: usize,
    calls: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    slow_writes: Arc<Semaphore>,
    /// The end of the pause that the API server has asked for.
    paused_until: Mutex<Option<Instant>>,
}

/// One call may be made.
pub(super) struct CallPermit {
    /// Dropped first: while the others are held no other call is counted.
    _in_flight: GaugeGuard,
    _list: Option<OwnedSemaphorePermit>,
    _call: OwnedSemaphorePermit,
}

/// One write may go on beyond the time of a call.
pub(super) struct SlowWritePlace {
    _counted: GaugeGuard,
    _place: OwnedSemaphorePermit,
}

/// How long a call may wait before it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitLimits {
    permit_until: Instant,
    pause_until: Instant,
}

impl Gate {
    pub(super) fn new(concurrency: usize) -> Self {
        let half = (concurrency / 2).max(1);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            concurrency,
            calls: semaphore(concurrency),
            lists: semaphore(half),
            slow_writes: semaphore(half.min(SLOW_WRITES_MAX)),
            paused_until: Mutex::default(),
        }
    }

    /// Waits for a permit, and for the end of a pause.
    ///
    /// # Errors
    /// [`ApiError::NoPermit`] or [`ApiError::TooBusy`]: no call was made.
    pub(super) async fn enter(
        &self,
        is_list: bool,
        limits: WaitLimits,
        metrics: &ClusterMetrics,
    ) -> Result<CallPermit, ApiError> {
        let _waiting = GaugeGuard::new(&metrics.calls_waiting);
        let began = Instant::now();
        loop {
            self.wait_for_pause(limits).await?;
            let what = WaitsFor::Permit(self.concurrency);
            let permits = async {
                // Neither semaphore is ever closed. The permit for LISTs comes first: nothing may wait that holds a
                // permit for calls.
                let list = if is_list { Arc::clone(&self.lists).acquire_owned().await.ok() } else { None };
                Arc::clone(&self.calls).acquire_owned().await.ok().map(|call| (list, call))
            };
            let permits = call_deadline::waiting_for(what, permits);
            let Ok(Some((list, call))) = tokio::time::timeout_at(limits.permit_until.into(), permits).await else {
                return Err(ApiError::NoPermit { waited: began.elapsed(), concurrency: self.concurrency });
            };
            // The API server may have asked for a pause while we waited for the permit.
            if self.pause().is_none() {
                let in_flight = GaugeGuard::new(&metrics.calls_in_flight);
                return Ok(CallPermit { _list: list, _call: call, _in_flight: in_flight });
            }
        }
    }

    /// A place for a write that has taken as long as a call may; `None` where all are taken.
    pub(super) fn place_for_slow_write(&self, metrics: &ClusterMetrics) -> Option<SlowWritePlace> {
        let place = Arc::clone(&self.slow_writes).try_acquire_owned().ok()?;
        Some(SlowWritePlace { _counted: GaugeGuard::new(&metrics.slow_writes), _place: place })
    }

    /// Waits for the end of the pause that the API server has asked for.
    ///
    /// # Errors
    /// [`ApiError::TooBusy`]: it ends too late.
    pub(super) async fn wait_for_pause(&self, limits: WaitLimits) -> Result<(), ApiError> {
        while let Some(pause) = self.pause() {
            limits.again_after(pause, "it has asked to be left alone")?;
            call_deadline::waiting_for(WaitsFor::Pause, tokio::time::sleep(pause)).await;
        }
        Ok(())
    }

    /// Notes the pause that an answer asks for, if it does, and returns it.
    pub(super) fn note_pause(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
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

impl WaitLimits {
    /// Of a call that may take `limit`, within the deadline of the task.
    pub(super) fn of(limit: Duration) -> Self {
        let (now, deadline) = (Instant::now(), call_deadline::deadline());
        let until = |limit| deadline.map_or(now + limit, |deadline| deadline.min(now + limit));
        Self {
            // Beyond the deadline: the task is ended there, and its error says that it waited for a permit.
            permit_until: now.max(deadline.unwrap_or(now)) + PERMIT_LIMIT,
            // No longer than the call itself may take: an API server that asks for one pause after the other has no
            // time for us, and the next delivery may find it better.
            pause_until: until(limit),
        }
    }

    /// Whether the call may be made again after `pause`; `said` is what the API server answered.
    ///
    /// # Errors
    /// [`ApiError::TooBusy`]: that is too late.
    pub(super) fn again_after(&self, pause: Duration, said: impl std::fmt::Display) -> Result<(), ApiError> {
        if Instant::now() + pause < self.pause_until {
            return Ok(());
        }
        let seconds = pause.as_secs_f64();
        let reason = format!("{said}; it is not to be asked again for {seconds:.1} s, and there is no time for that");
        Err(ApiError::TooBusy(reason))
    }
}

/// The pause that an answer asks for: a 429, or a 503 with `Retry-After`. Such a call has changed nothing. A 500 or a
/// 504 with `Retry-After` may have changed something, and is not made again.
fn asked_pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let date = |text| parse_date(text);
    let asked = header(header::RETRY_AFTER).and_then(|after| match after.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // RFC 9110, 10.2.3: it may be a date, by the same clock as the `Date` of the answer.
        Err(_) => date(after)?.duration_since(date(header(header::DATE)?)?).try_into().ok(),
    });
    let pause = match status {
        StatusCode::TOO_MANY_REQUESTS => asked.unwrap_or(PAUSE_DEFAULT),
        StatusCode::SERVICE_UNAVAILABLE => asked?,
        _ => return None,
    };
    // After 0 s we would ask thousands of times in the time of one call.
    Some(pause.clamp(PAUSE_DEFAULT, PAUSE_MAX))
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
    async fn lists_leave_permits_to_others() {
        let (gate, metrics) = (Gate::new(4), ClusterMetrics::default());
        let limits = || WaitLimits { permit_until: Instant::now(), pause_until: Instant::now() };
        let lists = [gate.enter(true, limits(), &metrics).await, gate.enter(true, limits(), &metrics).await];
        assert!(lists.iter().all(Result::is_ok));
        let third = gate.enter(true, limits(), &metrics).await;
        assert!(matches!(third, Err(ApiError::NoPermit { concurrency: 4, .. })));
        let others = [gate.enter(false, limits(), &metrics).await, gate.enter(false, limits(), &metrics).await];
        assert!(others.iter().all(Result::is_ok));
        assert_eq!((metrics.calls_in_flight.get(), metrics.calls_waiting.get()), (4, 0));
        assert!(matches!(gate.enter(false, limits(), &metrics).await, Err(ApiError::NoPermit { .. })));
        drop((lists, others));
        assert_eq!(metrics.calls_in_flight.get(), 0);
        assert!(gate.enter(true, limits(), &metrics).await.is_ok());
    }
}
