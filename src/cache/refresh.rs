//! Rounds: the GET of the ConfigMap and, where that is not enough, the scan and its write-back.
//!
//! Whoever needs a fresher index registers a [`Need`] and waits. One loop serves them all: rounds are single
//! flight and begin at least an interval apart, so pushes of images that nobody runs cost the API server a
//! bounded trickle, whatever their rate. A round without a need that is still open does not begin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::configmap::Written;
use super::proof::Need;
use super::resolver::Resolver;
use super::scan::{self, Scan};
use super::status::TierStatus;
use super::{LoadedIndex, Tier};
use crate::cluster::{ApiError, ConfigMapObject};
use crate::index::document;

/// How the last round went.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// When it began; where there was a scan, when that did: needs that arose during the GET are served by it, too.
    pub(super) began: Option<Instant>,
    /// Why it gave no index.
    pub(super) error: Option<Arc<str>>,
    /// What the write-back came to, if there was one.
    pub(super) written: Option<Result<Written, Arc<str>>>,
}

/// The needs that are open, and the reports of the rounds.
#[derive(Debug)]
pub(super) struct Refresher {
    needs: Mutex<Needs>,
    arrived: Notify,
    report: watch::Sender<Report>,
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
        Self { needs: Mutex::default(), arrived: Notify::new(), report: watch::Sender::new(Report::default()) }
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

    fn needs(&self) -> MutexGuard<'_, Needs> {
        // Nothing that holds the lock can leave it half changed.
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
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
                self.round(resolver, began).await;
            }
        }
    }

    async fn round(&self, resolver: &Resolver, began: Instant) {
        let stored = match resolver.read_config_map().await {
            Ok(stored) => stored,
            Err(error @ (ApiError::Unreachable(_) | ApiError::TimedOut(_))) => {
                // A scan would only hang as well.
                let error = Some(error.to_string().into());
                self.report.send_replace(Report { began: Some(began), error, written: None });
                return;
            }
            Err(_) => None,
        };
        if !self.has_unmet(resolver) {
            self.report.send_replace(Report { began: Some(began), error: None, written: None });
            return;
        }
        let began = Instant::now();
        match scan::scan(resolver.cluster(), resolver.scope()).await {
            Err(error) => {
                let error = error.to_string();
                resolver.tier_failed(Tier::Scan, error.clone());
                self.report.send_replace(Report { began: Some(began), error: Some(error.into()), written: None });
            }
            Ok(scan) => {
                let began = Some(scan.began);
                resolver.scanned(&scan);
                // Those who wait for the index need not wait for the write.
                self.report.send_replace(Report { began, error: None, written: None });
                if !resolver.writes_back() {
                    return;
                }
                let written = resolver.write_back(&scan, stored).await;
                self.report.send_replace(Report { began, error: None, written: Some(written) });
            }
        }
    }
}

impl Drop for OpenNeed<'_> {
    fn drop(&mut self) {
        self.refresher.needs().open.remove(&self.number);
    }
}

impl Resolver {
    /// Reads the ConfigMap and offers its document; gives the object, for the write that may follow.
    async fn read_config_map(&self) -> Result<Option<ConfigMapObject>, ApiError> {
        let stored = self.config_map().read(self.cluster()).await.inspect_err(|error| {
            self.tier_failed(Tier::ConfigMap, format!("the ConfigMap {}: {error}", self.config_map()));
        })?;
        match stored.document {
            Err(error) => self.tier_failed(Tier::ConfigMap, error.to_string()),
            Ok(document) => {
                let value = stored.object.as_ref().and_then(|object| object.data.get(&self.config_map().key));
                let status = TierStatus {
                    as_of: document.head.as_of,
                    document_bytes: value.map(String::len),
                    warnings: document.warnings,
                    ..TierStatus::default()
                };
                self.tier_loaded(
                    status,
                    LoadedIndex {
                        index: document.index,
                        tier: Tier::ConfigMap,
                        as_of: document.head.as_of,
                        covers_scope: self.is_covered_by(document.head.scope.as_ref()),
                        scan_began: None,
                        loaded_at: self.clock().now(),
                    },
                );
            }
        }
        Ok(stored.object)
    }

    fn scanned(&self, scan: &Scan) {
        self.tier_loaded(
            TierStatus { as_of: scan.head.as_of, ..TierStatus::default() },
            LoadedIndex {
                index: document::index_of(&scan.images),
                tier: Tier::Scan,
                as_of: scan.head.as_of,
                covers_scope: true,
                scan_began: Some(scan.began),
                loaded_at: self.clock().now(),
            },
        );
    }

    async fn write_back(&self, scan: &Scan, stored: Option<ConfigMapObject>) -> Result<Written, Arc<str>> {
        let written = self.config_map().write(self.cluster(), &scan.head, &scan.images, stored, false).await;
        match written {
            Ok(written) => {
                if written == Written::Changed {
                    self.tier_written(Tier::ConfigMap, scan.head.as_of);
                }
                Ok(written)
            }
            Err(error) => {
                let error = error.to_string();
                self.tier_failed(Tier::ConfigMap, error.clone());
                Err(error.into())
            }
        }
    }
}
