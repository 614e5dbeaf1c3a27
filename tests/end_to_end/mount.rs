//! The mount: swaps exactly as the kubelet makes them are followed, and whatever goes wrong, the last good index
//! stays.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded_kubernetes::ProjectedVolume;
use jiff::{SignedDuration, Timestamp};
use pushroll::cache::mount::MountReader;
use serde_json::{Value, json};

use crate::support::documents::{document, names, scanned_document};
use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::volume::Volume;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_swap_of_the_mount_is_followed);
    suite.on_both(the_last_good_index_is_kept_through_a_bad_mount);
    suite.on_both(a_mount_that_appears_only_later_is_found);
    suite.on_both(a_plain_file_is_followed_and_warned_about);
    suite.on_both(a_path_inside_of_a_volume_is_followed_as_the_volume_is);
    suite.on_both(a_document_older_than_memory_is_not_taken);
    suite.on_both(thousands_of_swaps_tear_no_lookup);
    suite.plain(a_hundred_thousand_swaps_tear_no_read);
}

/// Who runs the image, by a document of this name's own.
fn generation(ground: &Ground, image: &str, name: &str) -> Value {
    document(&[(image, &[&deployment(ground.namespace(), name, image)])])
}

async fn a_swap_of_the_mount_is_followed(ground: Ground) {
    let image = ground.image("web");
    let mut volume = ground.volume();
    volume.show(&generation(&ground, &image, "first"));
    let service = ground.service().mount(volume.directory()).start_ready().await;
    assert_eq!(names(&service.lookup(&image).await), ["first"]);
    for name in ["second", "third", "first"] {
        volume.show(&generation(&ground, &image, name));
        service.wait_for_lookup(&image, &[name]).await;
    }
    assert_eq!(service.lookup(&image).await["source"]["tier"], "mount");
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="mount",result="loaded"}"#).await, 4.0);
    assert_eq!(service.metric("pushroll_index_images").await, 1.0);
    assert_eq!(service.metric("pushroll_index_workloads").await, 1.0);
    assert_eq!(service.api_calls(), [], "the mount is all that was needed");
}

/// What is wrong with a mount, how it comes about, and what the status says of it.
type BadMount = (&'static str, fn(&mut Volume), &'static str);

const BAD_MOUNTS: [BadMount; 8] = [
    ("invalid JSON", |volume| volume.show_file("cache.json", "{\"images\": {"), "not a cache document: EOF"),
    ("an empty file", |volume| volume.show_file("cache.json", ""), "not a cache document: EOF while parsing a value"),
    ("images of another shape", |volume| volume.show(&json!({"images": []})), "not a cache document: invalid type"),
    ("no images", |volume| volume.show_file("cache.json", "{}"), "missing field `images`"),
    ("no UTF-8", |volume| volume.show_file("cache.json", *b"{\"images\": \xff}"), "not UTF-8 at byte 11"),
    ("a newer format", |volume| volume.show(&json!({"version": 99, "images": {}})), "upgrade pushroll"),
    ("a vanished key", |volume| volume.show_file("other.json", "{}"), "has no cache.json"),
    ("an empty directory", Volume::tear_down, "has no cache.json"),
];

async fn the_last_good_index_is_kept_through_a_bad_mount(ground: Ground) {
    let image = ground.image("web");
    let mut volume = ground.volume();
    volume.show(&generation(&ground, &image, "good-0"));
    let service = ground.service().mount(volume.directory()).start_ready().await;
    for (number, (what, spoil, says)) in BAD_MOUNTS.into_iter().enumerate() {
        let good = format!("good-{number}");
        service.wait_for_lookup(&image, &[&good]).await;
        let warnings_before = warnings(&service);

        spoil(&mut volume);
        let status = service.wait_for_status(what, |status| status["tiers"]["mount"]["error"].is_string()).await;
        let error = status["tiers"]["mount"]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(says), "{what}: {error}");
        // Many polls later.
        for _ in 0..20 {
            assert_eq!(names(&service.lookup(&image).await), [&*good], "{what}");
        }
        assert_eq!(service.status().await["ready"], true, "{what}");

        volume.show(&generation(&ground, &image, &format!("good-{}", number + 1)));
        let is_well = |status: &Value| status["tiers"]["mount"]["error"].is_null();
        service.wait_for_status("the mount works again", is_well).await;
        assert_eq!(&warnings(&service)[warnings_before.len()..], [error], "{what}: one line for one change");
    }
    let count = BAD_MOUNTS.len();
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="mount",result="failed"}"#).await, count as f64);
    let again = |line: &&Value| line["message"] == "works again";
    assert_eq!(service.log().iter().filter(again).count(), count, "{:?}", service.log());
}

/// What it has warned of in its log about the mount.
fn warnings(service: &Service) -> Vec<String> {
    let log = service.log().into_iter().filter(|line| line["severity"] == "WARNING" && line["tier"] == "mount");
    log.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

async fn a_mount_that_appears_only_later_is_found(ground: Ground) {
    let image = ground.image("web");
    let directory = ground.directory().join("volume");
    let service = ground.service().mount(&directory).start_ready().await;
    let error = service.status().await["tiers"]["mount"]["error"].to_string();
    assert!(error.contains("does not exist"), "{error}");
    assert_ne!(service.lookup(&image).await["source"]["tier"], "mount");

    let mut volume = ground.volume();
    let is_empty = |status: &Value| status["tiers"]["mount"]["error"].to_string().contains("has no cache.json");
    service.wait_for_status("the directory is there, and empty", is_empty).await;
    volume.show(&generation(&ground, &image, "web"));
    let found = service.wait_for_lookup(&image, &["web"]).await;
    assert_eq!(found["source"]["tier"], "mount");
    assert!(service.status().await["tiers"]["mount"]["error"].is_null());
}

async fn a_plain_file_is_followed_and_warned_about(ground: Ground) {
    let image = ground.image("web");
    let directory = ground.directory().join("plain");
    std::fs::create_dir(&directory).unwrap();
    let write = |name: &str| replace(&directory, &generation(&ground, &image, name));
    write("first");
    let service = ground.service().mount(&directory).start_ready().await;
    assert_eq!(names(&service.lookup(&image).await), ["first"]);
    let warnings = service.status().await["tiers"]["mount"]["warnings"].to_string();
    assert!(warnings.contains("subPath") && warnings.contains("never updates"), "{warnings}");

    // Of another length, of the same length, and back.
    for name in ["the-second", "the-thirds", "first"] {
        write(name);
        service.wait_for_lookup(&image, &[name]).await;
    }
    assert!(self::warnings(&service)[0].contains("subPath"), "{:?}", service.log());
    std::fs::remove_file(directory.join("cache.json")).unwrap();
    let is_gone = |status: &Value| status["tiers"]["mount"]["error"].is_string();
    service.wait_for_status("the file is gone", is_gone).await;
    assert_eq!(names(&service.lookup(&image).await), ["first"]);
}

/// A file in the place of another, as an editor saves it.
fn replace(directory: &Path, document: &Value) {
    let new = directory.join("new");
    std::fs::write(&new, document.to_string()).unwrap();
    std::fs::rename(new, directory.join("cache.json")).unwrap();
}

/// With `items: [{key: cache.json, path: images/current/cache.json}]` the kubelet links `images` alone into `..data`.
async fn a_path_inside_of_a_volume_is_followed_as_the_volume_is(ground: Ground) {
    let image = ground.image("web");
    let volume = ground.directory().join("a volume");
    let show = |version: &str, name: &str| {
        let directory = volume.join(version).join("images/current");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("cache.json"), generation(&ground, &image, name).to_string()).unwrap();
        std::os::unix::fs::symlink(version, volume.join("..data_tmp")).unwrap();
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    show("..2026_1", "first");
    std::os::unix::fs::symlink("..data/images", volume.join("images")).unwrap();
    // As another program's image may have it: a directory of its own, and in it a link to the file.
    let linked = ground.directory().join("linked");
    std::fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(volume.join("images/current/cache.json"), linked.join("cache.json")).unwrap();
    let nested = volume.join("images/current");
    let mut services = Vec::new();
    for directory in [&nested, &linked] {
        let service = ground.service().mount(directory).start_ready().await;
        assert_eq!(names(&service.lookup(&image).await), ["first"]);
        services.push(service);
    }
    let manifest = config_map(ground.namespace(), "deployment-image-cache", "cache.json", "");
    let mut stored = manifest.clone();
    stored["data"]["cache.json"] = generation(&ground, &image, "first").to_string().into();
    ground.create(&stored).await;
    for directory in [&nested, &linked] {
        let check = ["check", "-o", "json", "--cache-dir", directory.to_str().unwrap()];
        let ran = ground.run_as(&ground.fresh_user(), &check).await;
        assert!(ran.stdout.contains("\"mounted\"") && !ran.stdout.contains("subpath_mount"), "{ran:?}");
    }
    show("..2026_2", "second");
    std::fs::remove_dir_all(volume.join("..2026_1")).unwrap();
    for service in &services {
        service.wait_for_lookup(&image, &["second"]).await;
        let mount = service.status().await["tiers"]["mount"].clone();
        assert!(!mount.to_string().contains("subPath"), "{mount}");
    }
}

async fn a_document_older_than_memory_is_not_taken(ground: Ground) {
    let image = ground.image("web");
    let ago = |minutes: i64| Timestamp::now() - SignedDuration::from_mins(minutes);
    let scanned = |minutes, name: &str| {
        scanned_document(ago(minutes), None, &[(&image, &[&deployment(ground.namespace(), name, &image)])])
    };
    let mut volume = ground.volume();
    volume.show(&scanned(10, "first"));
    let service = ground.service().mount(volume.directory()).start_ready().await;
    assert_eq!(names(&service.lookup(&image).await), ["first"]);

    volume.show(&scanned(20, "older"));
    let is_older = |status: &Value| status["tiers"]["mount"]["older_than_memory"] == true;
    service.wait_for_status("the older document was seen", is_older).await;
    assert_eq!(names(&service.lookup(&image).await), ["first"]);
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="mount",result="older"}"#).await, 1.0);

    volume.show(&scanned(5, "newer"));
    let found = service.wait_for_lookup(&image, &["newer"]).await;
    assert!(found["source"]["as_of"].is_string(), "{found}");
    // One that says nothing of its age is the latest to arrive.
    volume.show(&generation(&ground, &image, "by-hand"));
    service.wait_for_lookup(&image, &["by-hand"]).await;
}

/// How many workloads each document of the many has: an answer with fewer, or of two documents, is torn.
const WORKLOADS: usize = 40;

async fn thousands_of_swaps_tear_no_lookup(ground: Ground) {
    let image = ground.image("web");
    let shown = |number: usize| {
        let names = (0..WORKLOADS).map(|workload| format!("g{number}-{workload:02}"));
        let workloads: Vec<Value> = names.map(|name| deployment(ground.namespace(), &name, &image)).collect();
        document(&[(&image, &workloads.iter().collect::<Vec<_>>())])
    };
    let documents: Vec<Value> = (0..5).map(shown).collect();
    let mut volume = ground.volume();
    volume.show(&documents[0]);
    let service =
        Arc::new(ground.service().arguments(["--mount-poll", "1ms"]).mount(volume.directory()).start_ready().await);

    let done = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (service, done, image) = (Arc::clone(&service), Arc::clone(&done), image.clone());
        readers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let names = names(&service.lookup(&image).await);
                let generations: BTreeSet<&str> = names.iter().map(|name| name.split_once('-').unwrap().0).collect();
                assert_eq!((names.len(), generations.len()), (WORKLOADS, 1), "{names:?}");
            }
        });
    }
    let swaps = tokio::task::spawn_blocking(move || {
        for number in 1..=4000 {
            volume.show(&documents[number % documents.len()]);
        }
        volume.show(&documents[3]);
    });
    swaps.await.unwrap();
    done.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    let last: Vec<String> = (0..WORKLOADS).map(|workload| format!("g3-{workload:02}")).collect();
    service.wait_for_lookup(&image, &last.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(warnings(&service), [""; 0]);
    assert_eq!(service.metric(r#"pushroll_reloads_total{tier="mount",result="failed"}"#).await, 0.0);
    assert!(service.metric(r#"pushroll_reloads_total{tier="mount",result="loaded"}"#).await > 10.0);
}

const SWAPS: usize = 100_000;
/// Of 8 bytes each.
const LINES: usize = 256;

/// The library's reader, under the kubelet's swap as often as it goes: never half a file, never two in one, never an
/// error, and never an older one than was seen before.
async fn a_hundred_thousand_swaps_tear_no_read() {
    // In memory where there is such a place: it is the swap that is tested, not the disk.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(parent).unwrap();
    let mut volume = ProjectedVolume::create(directory.path()).unwrap();
    let mut show = move |number: usize| {
        let content = format!("{number:07}\n").repeat(LINES).into_bytes();
        volume.write(&[("cache.json".to_owned(), content)].into()).unwrap();
    };
    show(0);
    let done = Arc::new(AtomicBool::new(false));
    let (reader, is_done) = (MountReader::new(directory.path(), ["cache.json"]), Arc::clone(&done));
    let reading = std::thread::spawn(move || {
        let (mut last, mut seen) = (0, 0_usize);
        while !is_done.load(Ordering::Relaxed) {
            let content = reader.read().unwrap().bytes;
            // Each line the same as the one before.
            assert!(content.len() == LINES * 8 && content[8..] == content[..content.len() - 8], "torn");
            let number: usize = std::str::from_utf8(&content[..7]).unwrap().parse().unwrap();
            assert!(number >= last, "{number} after {last}");
            seen += usize::from(number > last);
            last = number;
        }
        seen
    });
    (1..=SWAPS).for_each(&mut show);
    done.store(true, Ordering::Relaxed);
    let seen = reading.join().unwrap();
    assert!(seen > 1000, "the reader was in between: {seen} versions seen");
}
