//! A lookup in memory against opening, reading and parsing the mounted document each time.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use pushroll::cache::mount::MountReader;
use pushroll::image::ImageRef;
use serde::Deserialize;

use crate::documents::document;
use crate::reload::{mounted, resolver_of};
use crate::statistics::{print_ratios, ratio, took};

const DOCUMENT_BYTES: usize = 50_000;
const LOOKUPS: u32 = 1_000_000;
const READS: u32 = 200;
const RUNS: usize = 7;

#[derive(Deserialize)]
struct Original {
    images: HashMap<String, Vec<OriginalEntry>>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "what a caller would look at")]
struct OriginalEntry {
    name: String,
    namespace: String,
}

pub fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let (text, image) = document(DOCUMENT_BYTES);
    let _volume = mounted(directory.path(), &text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = runtime.block_on(async {
        let resolver = resolver_of(directory.path(), Duration::from_secs(1));
        resolver.load_mount().await;
        resolver
    });
    let reader = MountReader::new(directory.path(), ["cache.json"]);
    let reference: ImageRef = image.parse().unwrap();

    let (mut ratios, mut with_parsing) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let in_memory = took(|| {
            for _ in 0..LOOKUPS {
                let loaded = resolver.current().unwrap();
                assert_eq!(black_box(loaded.index.followers(black_box(&reference))).len(), 1);
            }
        });
        let parsed = took(|| {
            for _ in 0..LOOKUPS / 10 {
                let reference: ImageRef = black_box(&image).parse().unwrap();
                let loaded = resolver.current().unwrap();
                assert_eq!(black_box(loaded.index.followers(&reference)).len(), 1);
            }
        });
        let each_time = took(|| {
            for _ in 0..READS {
                let bytes = reader.read().unwrap().bytes;
                let document: Original = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(black_box(&document.images[black_box(&image)]).len(), 1);
            }
        });
        let (in_memory, parsed, each_time) = (in_memory / LOOKUPS, parsed / (LOOKUPS / 10), each_time / READS);
        if run == 0 {
            println!("  in memory {in_memory:?}, with parsing the reference {parsed:?}, read and parsed {each_time:?}");
        }
        ratios.push(ratio(each_time, in_memory));
        with_parsing.push(ratio(each_time, parsed));
    }
    print_ratios("times as fast as reading 50 KB each time", &ratios, "at least 1,000");
    print_ratios("the same, parsing the image reference each time", &with_parsing, "none");
}
