//! A write that an admission webhook may hold up.
//!
//! The API server gives a webhook up to 30 s (Kubernetes: `timeoutSeconds`), which is longer than a push can wait. So
//! such a write is a task of its own, which goes on when nobody waits for it any more: the API server finishes what it
//! has begun, and a write that is broken off may be done or not.
//!
//! For [`CALL_LIMIT`] it is a call like any other. After that it returns its permit, so that other calls go on, and
//! takes one of a few places for slow writes. Where none is free it is given up, so an API server that never answers
//! holds up a few writes and no other call.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use kube::client::Body;
use tokio::time::timeout;

use super::call_deadline::{self, WaitsFor};
use super::error::ApiError;
use super::gate::CallPermit;
use super::metrics::RequestLabels;
use super::request::{CALL_LIMIT, Call, CallAttempts, Cluster, WholeAnswer};

/// The longest time of a write: the longest of a webhook, and what the rest of the write takes.
const SLOW_WRITE_LIMIT: Duration = Duration::from_secs(35);

impl Cluster {
    /// As [`Self::call`], for a write that may take as long as an admission webhook may. `then` sees the body of a 2xx
    /// answer even where the caller does not wait for it.
    pub(super) async fn slow_write(
        &self,
        call: Call,
        then: impl Fn(&Bytes) + Send + Sync + 'static,
    ) -> Result<Bytes, ApiError> {
        let (attempts, then) = (CallAttempts::new(call, CALL_LIMIT), Arc::new(then));
        loop {
            let sent = self.send_slow_write(&attempts, Arc::clone(&then)).await?;
            if let Some(body) = attempts.judge(sent)? {
                return Ok(body);
            }
        }
    }

    async fn send_slow_write(
        &self,
        attempts: &CallAttempts,
        then: Arc<impl Fn(&Bytes) + Send + Sync + 'static>,
    ) -> Result<WholeAnswer, ApiError> {
        let permit = self.gate().enter(false, attempts.wait_limits, self.metrics()).await?;
        let (cluster, request, mut labels) = (self.clone(), attempts.request()?, attempts.labels());
        let write = tokio::spawn(async move {
            let sent = cluster.exchange_slowly(request, permit, &mut labels).await;
            cluster.metrics().requests.get_or_create(&labels).inc();
            if let Ok(whole) = &sent
                && whole.answer.status().is_success()
            {
                then(whole.answer.body());
            }
            sent
        });
        let written = call_deadline::waiting_for(WaitsFor::Write, write).await;
        written.unwrap_or_else(|ended| Err(ApiError::Unreachable(format!("the call was broken off: {ended}"))))
    }

    async fn exchange_slowly(
        &self,
        request: Request<Body>,
        permit: CallPermit,
        labels: &mut RequestLabels,
    ) -> Result<WholeAnswer, ApiError> {
        let mut exchange = pin!(self.exchange(request, labels));
        if let Ok(sent) = timeout(CALL_LIMIT, exchange.as_mut()).await {
            return sent;
        }
        let Some(_place) = self.gate().place_for_slow_write(self.metrics()) else {
            return Err(ApiError::TimedOut(CALL_LIMIT));
        };
        drop(permit);
        let sent = timeout(SLOW_WRITE_LIMIT.saturating_sub(CALL_LIMIT), exchange).await;
        sent.unwrap_or(Err(ApiError::TimedOut(SLOW_WRITE_LIMIT)))
    }
}
