//! Rounds: the GET of the ConfigMap and, where that is not enough, the scan and its write-back.
//!
//! Whoever needs a fresher index registers a [`Need`] and waits. One loop serves them all: rounds are single
//! flight and begin at least an interval apart, so pushes of images that nobody runs cost the API server a
//! bounded trickle, whatever their rate. A round without a need that is still open does not begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::configmap::Written;
use super::off_worker::off_worker;
use super::proof::Need;
use super::resolver::Resolver;
use super::scan::{self, Scan};
use super::status::TierStatus;
use super::{LoadedIndex, Tier, capacity};
use crate::cluster::{ApiError, ConfigMapObject};
use crate::index::document;

/// How the last round went.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// When it began; where there was a scan, when that did: needs that arose during the GET are served by it, too.
    pub(super) began: Option<Instant>,
    /// Why it gave no index.
    pub(super) error: Option<Arc<str>>,
    /// What it has scanned. Those who waited for it take it from here: a document may have taken its place
    /// as the current index meanwhile, and proves less.
    pub(super) scanned: Option<Arc<LoadedIndex>>,
}

/// What a write-back came to.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// Of the scan that began then.
    pub(super) scan_began: Instant,
    /// What it came to.
    pub(super) result: Result<Written, Arc<str>>,
}

/// The needs that are open, and the reports of the rounds.
#[derive(Debug)]
pub(super) struct Refresher {
    needs: Mutex<Needs>,
    arrived: Notify,
    report: watch::Sender<Report>,
    write: watch::Sender<Option<Write>>,
}

#[derive(Debug, Default)]
struct Needs {
    next: u64,
    open: BTreeMap<u64, Need>,
}

/// Keeps a need open; dropping it withdraws it.
pub(super) struct OpenNeed<'a> {
    refresher: &'a Refresher,
    number: u64,
}

impl Refresher {
    pub(super) fn new() -> Self {
        let (report, write) = (watch::Sender::new(Report::default()), watch::Sender::new(None));
        Self { needs: Mutex::default(), arrived: Notify::new(), report, write }
    }

    pub(super) fn open(&self, need: Need) -> OpenNeed<'_> {
        let mut needs = self.needs();
        let number = needs.next;
        needs.next += 1;
        needs.open.insert(number, need);
        drop(needs);
        self.arrived.notify_one();
        OpenNeed { refresher: self, number }
    }

    pub(super) fn reports(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    pub(super) fn writes(&self) -> watch::Receiver<Option<Write>> {
        self.write.subscribe()
    }

    /// There is another index: those who wait look again.
    pub(super) fn wake(&self) {
        self.report.send_modify(|_| {});
    }

    fn needs(&self) -> MutexGuard<'_, Needs> {
        self.needs.lock()
    }

    fn has_unmet(&self, resolver: &Resolver) -> bool {
        let current = resolver.current();
        self.needs().open.values().any(|need| !resolver.meets(current.as_deref(), need))
    }

    /// Serves the needs until `shutdown`.
    pub(super) async fn run(&self, resolver: &Resolver, interval: Duration, shutdown: CancellationToken) {
        let mut next_begin = Instant::now();
        loop {
            let idle = async {
                while !self.has_unmet(resolver) {
                    self.arrived.notified().await;
                }
                tokio::time::sleep_until(next_begin.into()).await;
            };
            if shutdown.run_until_cancelled(idle).await.is_none() {
                return;
            }
            if self.has_unmet(resolver) {
                let began = Instant::now();
                next_begin = began + interval;
                if shutdown.run_until_cancelled(self.round(resolver, began)).await.is_none() {
                    return;
                }
            }
        }
    }

    async fn round(&self, resolver: &Resolver, began: Instant) {
        let report = Report { began: Some(began), ..Report::default() };
        let failed = |error: String| Report { error: Some(error.into()), ..report.clone() };
        let stored = match resolver.read_config_map().await {
            Ok(stored) => stored,
            // We may lack this permission alone, or the ConfigMap's answer may be odd: a scan does without.
            Err(ApiError::Forbidden(_) | ApiError::Unreadable(_)) => None,
            Err(error) => {
                // A scan would fail as well, and is the last thing that a busy API server needs.
                self.report.send_replace(failed(error.to_string()));
                return;
            }
        };
        if self.has_unmet(resolver)
            && let Some(watch) = resolver.watch()
        {
            watch.begun().await;
        }
        if !self.has_unmet(resolver) {
            self.report.send_replace(report);
            return;
        }
        let scan = match scan::scan(resolver.cluster(), resolver.scope(), resolver.clock_margin()).await {
            Ok(scan) => scan,
            Err(error) => {
                resolver.tier_failed(Tier::Scan, error.to_string());
                self.report.send_replace(failed(error.to_string()));
                return;
            }
        };
        let report = Report { scanned: Some(resolver.scanned(&scan)), ..report };
        // Those who wait for the index need not wait for the write.
        self.report.send_replace(report);
        if resolver.writes_back() {
            let result = resolver.write_back(&scan, stored).await;
            self.write.send_replace(Some(Write { scan_began: scan.began, result }));
        }
    }
}

impl Drop for OpenNeed<'_> {
    fn drop(&mut self) {
        let mut needs = self.refresher.needs();
        needs.open.remove(&self.number);
        if needs.open.is_empty() {
            drop(needs);
            // Nobody waits for it any more: it need not stay in memory beside the current index.
            self.refresher.report.send_modify(|report| report.scanned = None);
        }
    }
}

impl Resolver {
    /// Reads the ConfigMap and offers its document; gives the object, for the write that may follow.
    pub(super) async fn read_config_map(&self) -> Result<Option<ConfigMapObject>, ApiError> {
        let stored = self.config_map().read(self.cluster()).await.inspect_err(|error| {
            self.tier_failed(Tier::ConfigMap, format!("the ConfigMap {}: {error}", self.config_map()));
        })?;
        stored.object.iter().for_each(|object| self.compare_mount(object));
        match stored.document {
            Err(error) => self.tier_failed(Tier::ConfigMap, error.to_string()),
            Ok(mut document) => {
                document
                    .warnings
                    .extend(stored.object.as_ref().and_then(|object| capacity::warning(object.values_bytes())));
                self.document_loaded(Tier::ConfigMap, stored.bytes, document);
            }
        }
        Ok(stored.object)
    }

    fn scanned(&self, scan: &Scan) -> Arc<LoadedIndex> {
        self.tier_loaded(
            TierStatus { as_of: scan.head.as_of, ..TierStatus::default() },
            LoadedIndex {
                index: off_worker(|| document::index_of(&scan.images)),
                tier: Tier::Scan,
                as_of: scan.head.as_of,
                covers_scope: true,
                is_narrower: false,
                scan_began: Some(scan.began),
                loaded_at: self.clock().now(),
                watch: None,
            },
        )
    }

    pub(super) async fn write_back(&self, scan: &Scan, stored: Option<ConfigMapObject>) -> Result<Written, Arc<str>> {
        let written = self.config_map().write(self.cluster(), &scan.head, &scan.images, stored, false).await;
        match written {
            Ok(outcome) => {
                if outcome.written == Written::Changed {
                    self.tell_mounts(outcome.resource_version);
                    let status = TierStatus {
                        as_of: scan.head.as_of,
                        document_bytes: Some(outcome.document_bytes),
                        warnings: capacity::warning(outcome.values_bytes).into_iter().collect(),
                        ..TierStatus::default()
                    };
                    self.tier_written(Tier::ConfigMap, status);
                } else {
                    self.board().not_written(Tier::ConfigMap, None);
                }
                Ok(outcome.written)
            }
            Err(error) => {
                let error = error.to_string();
                self.board().not_written(Tier::ConfigMap, Some(error.clone()));
                Err(error.into())
            }
        }
    }
}
