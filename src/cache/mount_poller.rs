//! Follows the mount: looks at its version every `--mount-poll`, and loads a new one on a thread of its own.
//!
//! Whatever is wrong with the mount, the last good index stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::current::CurrentIndex;
use super::loaded_index::Tier;
use super::mount::{MountError, MountReader, MountedFile, Version};
use crate::index::document::Document;
use crate::index::document::stored::{Stored, both_forms};

/// A poller that has not looked for this long, over its interval, is dead.
const LATENESS_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct MountPoller {
    reader: MountReader,
    interval: Duration,
    current: Arc<CurrentIndex>,
    started: Instant,
    /// When it last looked, in milliseconds since `started`.
    looked_at: AtomicU64,
    /// The version that was read last, whether or not its document could be used.
    known: Mutex<Option<Version>>,
}

impl MountPoller {
    pub(super) fn new(reader: MountReader, interval: Duration, current: Arc<CurrentIndex>) -> Self {
        let started = Instant::now();
        Self { reader, interval, current, started, looked_at: AtomicU64::new(0), known: Mutex::default() }
    }

    /// Whether it has looked at the mount lately.
    pub(super) fn is_alive(&self) -> bool {
        let looked_at = Duration::from_millis(self.looked_at.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(looked_at) < self.interval + LATENESS_MAX
    }

    /// Polls until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.poll().await;
        }
    }

    /// Looks once, and loads what is new.
    pub(super) async fn poll(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.looked_at.store(elapsed, Ordering::Relaxed);
        let version = self.reader.version();
        if version.is_some() && version == *self.known.lock() {
            return;
        }
        let reader = self.reader.clone();
        match tokio::task::spawn_blocking(move || read(&reader)).await {
            Ok(Ok(mounted)) => {
                // Reported from here: the tiers report one after the other.
                self.current.mount_shows(mounted.fingerprint);
                match mounted.document {
                    Ok(document) => self.current.document_loaded(Tier::Mount, mounted.bytes, document),
                    Err(error) => self.current.tier_failed(Tier::Mount, error),
                }
                *self.known.lock() = Some(mounted.version);
            }
            Ok(Err(error)) => {
                // The next poll reads again, so that a key that appears later is found.
                *self.known.lock() = None;
                self.current.tier_failed(Tier::Mount, error.to_string());
            }
            Err(panicked) => self.current.tier_failed(Tier::Mount, format!("reading the mount failed: {panicked}")),
        }
    }
}

/// What is mounted: its document, or a sentence on why there is none.
struct Mounted {
    version: Version,
    bytes: usize,
    fingerprint: u64,
    document: Result<Document, String>,
}

fn read(reader: &MountReader) -> Result<Mounted, MountError> {
    let MountedFile { version, key, bytes, has_other_key } = reader.read()?;
    let stored = Stored::found_under(&key, bytes);
    let (bytes, fingerprint) = (stored.len(), stored.fingerprint());
    let directory = reader.directory().display();
    let mut document =
        stored.decode().map_err(|problem| format!("the document mounted at {directory} is unusable: {problem}"));
    if let (Version::Plain(..), Ok(document)) = (&version, &mut document) {
        document.warnings.push(format!(
            "{directory} has no ..data: a subPath mount or a plain file, which the kubelet never updates; mount the \
             whole ConfigMap as a directory"
        ));
    }
    if let Ok(document) = &mut document
        && has_other_key
    {
        document.warnings.push(both_forms(directory, &key));
    }
    Ok(Mounted { version, bytes, fingerprint, document })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheMetrics;
    use crate::clock::Clock;
    use crate::index::Scope;

    #[tokio::test]
    async fn a_damaged_document_keeps_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let margin = Duration::from_secs(10);
        let metrics = CacheMetrics::default();
        let scope = Scope::AllNamespaces;
        let current = CurrentIndex::new(scope, Clock::system(), Arc::default(), margin, Duration::ZERO, metrics);
        let current = Arc::new(current);
        let reader = MountReader::new(directory.path(), ["cache.json"]);
        let poller = MountPoller::new(reader, Duration::from_secs(1), Arc::clone(&current));
        let file = directory.path().join("cache.json");
        poller.poll().await;
        assert!(current.load().is_none() && current.tiers().mount.error.is_some(), "it is empty");
        std::fs::write(&file, r#"{"images": {"web": []}}"#).unwrap();
        poller.poll().await;
        let mounted = current.mounted();
        assert_eq!(current.load().unwrap().tier, Tier::Mount);
        assert!(mounted.is_some() && current.failed_tiers().is_empty());
        std::fs::write(&file, "damaged").unwrap();
        poller.poll().await;
        assert!(current.load().is_some() && current.tiers().mount.error.unwrap().contains("unusable"));
        assert_ne!(current.mounted(), mounted, "the mount shows another document");
        assert!(poller.is_alive());
    }
}
