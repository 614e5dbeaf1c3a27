//! A 1 MiB document swapped in on the mount: when lookups see it, and what it costs them meanwhile.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use embedded_kubernetes::{EmbeddedKubernetes, ProjectedVolume};
use pushroll::cache::configmap::CacheConfigMap;
use pushroll::cache::mount::MountReader;
use pushroll::cache::{CacheArgs, CacheMetrics, Resolver, ResolverConfig};
use pushroll::clock::Clock;
use pushroll::cluster::{Cluster, ClusterMetrics};
use pushroll::image::ImageRef;
use pushroll::index::Scope;
use pushroll::rollout::PolicyArgs;
use tokio_util::sync::CancellationToken;

use crate::documents::document_as_of;
use crate::statistics::{print_ratios, quantile, ratio};

const DOCUMENT_BYTES: usize = 1024 * 1024;
const POLL: Duration = Duration::from_millis(100);
const SWAPS: usize = 20;
const RUNS: usize = 5;

/// A resolver over that mount and an empty cluster.
pub fn resolver_of(directory: &Path, mount_poll: Duration) -> Arc<Resolver> {
    let config_map = CacheConfigMap { namespace: "n".into(), name: "cache".into(), key: "cache.json".into() };
    let mount = MountReader::new(directory, ["cache.json"]);
    let args = CacheArgs { mount_poll, rebuild_interval: Duration::from_secs(3600), ..CacheArgs::default() };
    let scope = Scope::AllNamespaces;
    let config = ResolverConfig {
        write_back: false,
        ..ResolverConfig::new(&args, scope, config_map, mount, PolicyArgs::CLOCK_MARGIN)
    };
    let cluster = Cluster::new(EmbeddedKubernetes::new().client(), Clock::system(), ClusterMetrics::default());
    Arc::new(Resolver::new(config, cluster, CacheMetrics::default()))
}

/// The directory as the kubelet would fill it.
pub fn mounted(directory: &Path, text: &str) -> ProjectedVolume {
    let mut volume = ProjectedVolume::create(directory).unwrap();
    swap(&mut volume, text);
    volume
}

fn swap(volume: &mut ProjectedVolume, text: &str) {
    let payload = BTreeMap::from([("cache.json".to_owned(), text.as_bytes().to_vec())]);
    assert!(volume.write(&payload).unwrap(), "a document like the last");
}

/// Longer lookups are counted as this long.
const NANOSECONDS_MAX: usize = 1 << 20;

/// The p99.9 of lookups, one after another, while `meanwhile` runs.
fn p999_of_lookups(resolver: &Resolver, image: &ImageRef, meanwhile: impl FnOnce()) -> Duration {
    let end = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let lookups = threads.spawn(|| {
            let mut counts = vec![0_u64; NANOSECONDS_MAX + 1];
            while !end.load(Ordering::Relaxed) {
                let began = Instant::now();
                let found =
                    resolver.current().is_some_and(|loaded| !loaded.index.followers(black_box(image)).is_empty());
                let took = began.elapsed().as_nanos();
                counts[usize::try_from(took).unwrap_or(NANOSECONDS_MAX).min(NANOSECONDS_MAX)] += 1;
                assert!(found);
            }
            counts
        });
        meanwhile();
        end.store(true, Ordering::Relaxed);
        let counts = lookups.join().unwrap();
        let (all, mut seen) = (counts.iter().sum::<u64>(), 0);
        let nanoseconds = counts.iter().position(|count| {
            seen += count;
            seen * 1000 >= all * 999
        });
        Duration::from_nanos(nanoseconds.unwrap_or_default() as u64)
    })
}

fn time(number: usize) -> String {
    format!("2026-11-20T{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60)
}

/// Documents that differ in their times, and these.
fn documents(number: &mut usize) -> Vec<(String, String)> {
    let times = (*number..*number + SWAPS).map(time);
    let documents = times.map(|as_of| (document_as_of(DOCUMENT_BYTES, &as_of).0, as_of)).collect();
    *number += SWAPS;
    documents
}

/// Swaps a document in, and says how long it takes until lookups see it.
fn until_visible(resolver: &Resolver, volume: &mut ProjectedVolume, text: &str, as_of: &str) -> Duration {
    let as_of = as_of.parse().ok();
    swap(volume, text);
    let began = Instant::now();
    while resolver.current().is_none_or(|loaded| loaded.as_of != as_of) {
        std::thread::sleep(Duration::from_micros(200));
    }
    began.elapsed()
}

pub fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let (text, image) = document_as_of(DOCUMENT_BYTES, &time(0));
    let image: ImageRef = image.parse().unwrap();
    let mut volume = mounted(directory.path(), &text);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let end = CancellationToken::new();
    let (resolver, running) = runtime.block_on(async {
        let resolver = resolver_of(directory.path(), POLL);
        resolver.load_mount().await;
        let (running, end) = (Arc::clone(&resolver), end.clone());
        (resolver, tokio::spawn(async move { running.run(end).await }))
    });

    let mut number = 1;
    let (mut ratios, mut visible) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let quiet = p999_of_lookups(&resolver, &image, || std::thread::sleep(POLL * 10));
        let loaded = documents(&mut number);
        let busy = p999_of_lookups(&resolver, &image, || {
            for (text, as_of) in &loaded {
                until_visible(&resolver, &mut volume, text, as_of);
            }
        });
        // And by themselves, at moments spread over the poll: the lookups above take a processor of two.
        for ((text, as_of), moment) in documents(&mut number).into_iter().zip(0..) {
            std::thread::sleep(POLL * (moment * 7 % 20) / 20);
            visible.push(until_visible(&resolver, &mut volume, &text, &as_of));
        }
        if run == 0 {
            println!("  p99.9 of lookups: {quiet:?} without reloads, {busy:?} during reloads");
        }
        ratios.push(ratio(busy, quiet));
    }
    end.cancel();
    runtime.block_on(running).unwrap();
    let (middle, worst) = (quantile(&mut visible, 0.99), quantile(&mut visible, 1.0));
    println!(
        "  1 MiB swapped in: visible after {middle:?} (p99), {worst:?} (worst of {}) at a poll of {POLL:?}; target: poll + 10 ms",
        visible.len()
    );
    print_ratios("p99.9 of lookups during reloads against without", &ratios, "at most 2");
}
