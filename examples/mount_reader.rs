//! Reads a key of a mounted ConfigMap, and notices when there is a new version.
//!
//! `cargo run --example mount_reader`

use std::collections::BTreeMap;
use std::error::Error;

use embedded_kubernetes::ProjectedVolume;
use pushroll::cache::mount::MountReader;

fn main() -> Result<(), Box<dyn Error>> {
    // What the kubelet does with a ConfigMap in a pod.
    let directory = tempfile::tempdir()?;
    let mut volume = ProjectedVolume::create(directory.path())?;
    volume.write(&BTreeMap::from([("cache.json".to_owned(), b"{\"images\": {}}".to_vec())]))?;

    let reader = MountReader::new(directory.path(), ["cache.json"]);
    let first = reader.read()?;
    println!("{}: {}", first.key, String::from_utf8_lossy(&first.bytes));

    volume.write(&BTreeMap::from([("cache.json".to_owned(), b"{\"images\": {\"nginx\": []}}".to_vec())]))?;
    if reader.version().as_ref() != Some(&first.version) {
        println!("new version: {}", String::from_utf8_lossy(&reader.read()?.bytes));
    }
    Ok(())
}
