//! Rounds: a GET of the ConfigMap and, where that is not enough, a scan and its write-back.
//!
//! Whoever needs a better index opens a [`Need`] and waits. One loop serves all needs. There is one round at a time, and
//! rounds begin at least an interval apart, so that pushes of images that no workload runs cost the API server a bounded
//! number of calls, whatever their rate. A round begins only while a need is open that the current index does not meet.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::configmap::Written;
use super::configmap_tier::ConfigMapTier;
use super::current::CurrentIndex;
use super::loaded_index::{LoadedIndex, Tier};
use super::off_worker::off_worker;
use super::proof::Need;
use super::scan;
use super::unseen::describe;
use super::watch::Watch;
use crate::arguments::written_duration;
use crate::cluster::{ApiError, Cluster};
use crate::index::document;

/// Why there is no index that is fresh enough.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unproven {
    /// A round that began after the need arose has failed.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Not in time.
    #[error("the cluster was not scanned in time")]
    TimedOut,
}

/// Serves the needs.
#[derive(Debug)]
pub(super) struct Rounds {
    cluster: Cluster,
    current: Arc<CurrentIndex>,
    config_map: Arc<ConfigMapTier>,
    watch: Option<Arc<Watch>>,
    /// Whether a scan is written to the ConfigMap.
    write_back: bool,
    needs: Mutex<Needs>,
    opened: Notify,
    last_round: watch::Sender<RoundReport>,
    last_write: watch::Sender<Option<RoundWrite>>,
}

#[derive(Debug, Default)]
struct Needs {
    next: u64,
    open: BTreeMap<u64, Need>,
}

/// Keeps a need open until it is dropped.
struct OpenNeed<'a> {
    rounds: &'a Rounds,
    number: u64,
}

/// How the last round went.
#[derive(Debug, Clone, Default)]
struct RoundReport {
    began: Option<Instant>,
    /// Why it gave no index, or one that lacks a part of the scope.
    error: Option<Arc<str>>,
    /// What it has scanned. Whoever waits for the scan takes it from here: a document may have replaced it as the
    /// current index meanwhile, and proves less.
    scanned: Option<Arc<LoadedIndex>>,
}

/// What came of the last write-back.
#[derive(Debug, Clone)]
struct RoundWrite {
    scan_began: Instant,
    result: Result<Written, Arc<str>>,
}

impl Rounds {
    pub(super) fn new(
        cluster: Cluster,
        current: Arc<CurrentIndex>,
        config_map: Arc<ConfigMapTier>,
        watch: Option<Arc<Watch>>,
        write_back: bool,
    ) -> Self {
        Self {
            cluster,
            current,
            config_map,
            watch,
            write_back,
            needs: Mutex::default(),
            opened: Notify::new(),
            last_round: watch::Sender::new(RoundReport::default()),
            last_write: watch::Sender::new(None),
        }
    }

    /// Waits for an index that meets `need`, at most until `deadline`.
    pub(super) async fn wait_for(&self, need: Need, deadline: Instant) -> Result<Arc<LoadedIndex>, Unproven> {
        let opened = Instant::now();
        let (mut changes, mut reports) = (self.current.changes(), self.last_round.subscribe());
        let _open = self.open(need);
        loop {
            changes.mark_unchanged();
            let report = reports.borrow_and_update().clone();
            let mut candidates = [self.current.load(), report.scanned].into_iter().flatten();
            if let Some(loaded) = candidates.find(|loaded| self.current.meets(Some(loaded), &need)) {
                return Ok(loaded);
            }
            if let (Some(began), Some(error)) = (report.began, report.error)
                && began >= opened
            {
                return Err(Unproven::Failed(error));
            }
            let news = async {
                // Both senders live as long as this.
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = reports.changed() => {}
                }
            };
            if tokio::time::timeout_at(deadline.into(), news).await.is_err() {
                return Err(Unproven::TimedOut);
            }
        }
    }

    /// Waits for a scan that begins after this call, and for its write-back.
    ///
    /// # Errors
    /// A sentence on what failed.
    pub(super) async fn rebuild(&self, deadline: Instant) -> Result<(Written, Arc<LoadedIndex>), String> {
        let asked = Instant::now();
        let mut writes = self.last_write.subscribe();
        let scanned = self.wait_for(Need::ScanSince(asked), deadline).await.map_err(|error| error.to_string())?;
        let of_this_scan = |write: &Option<RoundWrite>| write.as_ref().is_some_and(|write| write.scan_began >= asked);
        match tokio::time::timeout_at(deadline.into(), writes.wait_for(of_this_scan)).await {
            Ok(Ok(write)) => match write.as_ref().map(|write| &write.result) {
                Some(Ok(written)) => Ok((*written, scanned)),
                Some(Err(error)) => Err(error.to_string()),
                None => Err("the scan was not written".to_owned()),
            },
            Ok(Err(_)) | Err(_) => Err("the scan was not written in time".to_owned()),
        }
    }

    /// Waits for a first index, however often rounds fail: an API server that is away at the start is asked again.
    pub(super) async fn load_first(&self) {
        let mut changes = self.current.changes();
        let _open = self.open(Need::Any);
        while self.current.load().is_none() && changes.changed().await.is_ok() {}
    }

    /// Scans every `interval`, for ever.
    pub(super) async fn scan_every(&self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let now = Instant::now();
            // The status of the tier shows a failure; the next turn of the loop tries again.
            let _ = self.wait_for(Need::ScanSince(now), now + interval).await;
        }
    }

    /// Serves the needs until `shutdown`, with rounds that begin at least an `interval` apart.
    pub(super) async fn run(&self, interval: Duration, shutdown: CancellationToken) {
        let mut next_begin = Instant::now();
        loop {
            let idle = async {
                while !self.has_unmet_need() {
                    self.opened.notified().await;
                }
                tokio::time::sleep_until(next_begin.into()).await;
            };
            if shutdown.run_until_cancelled(idle).await.is_none() {
                return;
            }
            if self.has_unmet_need() {
                let began = Instant::now();
                next_begin = began + interval;
                if shutdown.run_until_cancelled(self.round(began)).await.is_none() {
                    return;
                }
            }
        }
    }

    async fn round(&self, began: Instant) {
        let report = RoundReport { began: Some(began), ..RoundReport::default() };
        let failed = |error: String| RoundReport { error: Some(error.into()), ..report.clone() };
        let stored = match self.config_map.read().await {
            Ok(stored) => stored,
            // Only this permission may be missing, or the ConfigMap's answer may be damaged: a scan needs neither.
            Err(ApiError::Forbidden(_) | ApiError::Unreadable(_)) => None,
            Err(error) => {
                // A scan would fail as well, and would burden an API server that is too busy already.
                self.last_round.send_replace(failed(error.to_string()));
                return;
            }
        };
        if self.has_unmet_need()
            && let Some(watch) = &self.watch
        {
            watch.until_begun().await;
        }
        if !self.has_unmet_need() {
            self.last_round.send_replace(report);
            return;
        }
        let scan = match scan::scan(&self.cluster, self.current.scope(), self.current.clock_margin()).await {
            Ok(scan) => scan,
            Err(error) => {
                if !error.forbidden.is_empty() {
                    self.current.unseen().scope_listed(&error.forbidden);
                }
                self.current.tier_failed(Tier::Scan, error.to_string());
                self.last_round.send_replace(failed(error.to_string()));
                return;
            }
        };
        self.current.unseen().scope_listed(&scan.forbidden);
        let unseen = scan.unseen();
        if let Some(watch) = &self.watch {
            watch.retry_but(&unseen);
        }
        let index = off_worker(|| self.current.complete(document::builder_of(&scan.images), &unseen));
        let scanned = Some(self.current.scanned(index, scan.as_of, scan.began));
        let error = (!unseen.is_empty()).then(|| self.why_unseen().into());
        // Whoever waits for the index need not wait for the write.
        self.last_round.send_replace(RoundReport { scanned, error, ..report });
        if self.write_back {
            let result = self.config_map.write_back(&scan.seen(self.current.scope()), stored).await;
            self.last_write.send_replace(Some(RoundWrite { scan_began: scan.began, result }));
        }
    }

    /// For waiters whose need the scan does not meet: the grace is not over.
    fn why_unseen(&self) -> String {
        let (why, grace) = (describe(&self.current.unseen().all()), written_duration(self.current.unseen().grace()));
        format!("{why}; pushes wait for that for {grace} (--unseen-grace)")
    }

    fn open(&self, need: Need) -> OpenNeed<'_> {
        let mut needs = self.needs.lock();
        let number = needs.next;
        needs.next += 1;
        needs.open.insert(number, need);
        drop(needs);
        self.opened.notify_one();
        OpenNeed { rounds: self, number }
    }

    fn has_unmet_need(&self) -> bool {
        let current = self.current.load();
        self.needs.lock().open.values().any(|need| !self.current.meets(current.as_deref(), need))
    }
}

impl Drop for OpenNeed<'_> {
    fn drop(&mut self) {
        let mut needs = self.rounds.needs.lock();
        needs.open.remove(&self.number);
        if needs.open.is_empty() {
            drop(needs);
            // Nothing waits for the scan any more: it need not stay in memory beside the current index.
            self.rounds.last_round.send_modify(|report| report.scanned = None);
        }
    }
}
