//! Follows the mount: looks at its version every `--mount-poll`, and loads what is new off the hot path.
//!
//! Whatever is wrong with the mount, the last good index stays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Tier;
use super::mount::{MountError, MountReader, Version};
use super::resolver::Resolver;
use crate::index::document::Document;
use crate::index::document::stored::Stored;

/// A poller that has not looked for this long, over its interval, is dead.
const BEAT_GRACE: Duration = Duration::from_secs(30);

/// The mount, followed.
#[derive(Debug)]
pub(super) struct MountPoller {
    reader: MountReader,
    interval: Duration,
    started: Instant,
    beat_ms: AtomicU64,
    /// The version that was judged, for good or bad: it need not be read again.
    judged: Mutex<Option<Version>>,
}

impl MountPoller {
    pub(super) fn new(reader: MountReader, interval: Duration) -> Self {
        Self { reader, interval, started: Instant::now(), beat_ms: AtomicU64::new(0), judged: Mutex::default() }
    }

    /// Whether it has looked at the mount lately.
    pub(super) fn beats(&self) -> bool {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beat) < self.interval + BEAT_GRACE
    }

    /// Polls until `shutdown`.
    pub(super) async fn run(&self, resolver: &Resolver, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.poll(resolver).await;
        }
    }

    /// Looks once, and loads what is new.
    pub(super) async fn poll(&self, resolver: &Resolver) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(elapsed, Ordering::Relaxed);
        let version = self.reader.version();
        if version.is_some() && version == *self.judged() {
            return;
        }
        let reader = self.reader.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let file = reader.read()?;
            let stored = Stored::found_under(&file.key, file.bytes);
            let (bytes, fingerprint) = (stored.len(), stored.fingerprint());
            let document = stored.decode().map_err(|error| error.to_string());
            Ok::<_, MountError>((file.version, bytes, fingerprint, document))
        });
        match loaded.await {
            Ok(Ok((version, bytes, fingerprint, document))) => {
                resolver.mount_lag().shown(fingerprint);
                *self.judged() = Some(version.clone());
                match document {
                    Ok(document) => self.loaded(resolver, &version, bytes, document),
                    Err(problem) => {
                        let path = self.reader.directory().display();
                        resolver
                            .tier_failed(Tier::Mount, format!("the document mounted at {path} is unusable: {problem}"));
                    }
                }
            }
            Ok(Err(error)) => {
                // Not remembered: the next poll looks again, and a key that appears later is found.
                *self.judged() = None;
                resolver.tier_failed(Tier::Mount, error.to_string());
            }
            Err(panicked) => resolver.tier_failed(Tier::Mount, format!("reading the mount failed: {panicked}")),
        }
    }

    fn judged(&self) -> parking_lot::MutexGuard<'_, Option<Version>> {
        self.judged.lock()
    }

    fn loaded(&self, resolver: &Resolver, version: &Version, bytes: usize, mut document: Document) {
        if matches!(version, Version::Plain(..)) {
            document.warnings.push(format!(
                "{} has no ..data: a subPath mount or a plain file, which the kubelet never updates; mount the whole \
                 ConfigMap as a directory",
                self.reader.directory().display()
            ));
        }
        resolver.document_loaded(Tier::Mount, bytes, document);
    }
}
