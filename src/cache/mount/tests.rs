use super::*;

fn swap(directory: &Path, version: &str, content: Option<&str>) {
    let versioned = directory.join(version);
    std::fs::create_dir(&versioned).unwrap();
    if let Some(content) = content {
        std::fs::write(versioned.join("cache.json"), content).unwrap();
    }
    let _ = std::fs::remove_file(directory.join("..data_tmp"));
    std::os::unix::fs::symlink(version, directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

#[test]
fn each_way_of_having_nothing_says_which() {
    let temporary = tempfile::tempdir().unwrap();
    let absent = MountReader::new(temporary.path().join("none"), ["cache.json"]);
    assert!(matches!(absent.read(), Err(MountError::NoDirectory(_))));
    assert_eq!(absent.version(), None);

    let reader = MountReader::new(temporary.path(), ["cache.json"]);
    assert!(matches!(reader.read(), Err(MountError::NoKey { .. })), "torn down");
    swap(temporary.path(), "..1", None);
    assert!(matches!(reader.read(), Err(MountError::NoKey { .. })), "optional and missing");
    assert!(matches!(reader.version(), Some(Version::Projected(_))));
}

#[test]
fn a_swap_is_a_new_version() {
    let temporary = tempfile::tempdir().unwrap();
    let reader = MountReader::new(temporary.path(), ["cache.json"]);
    swap(temporary.path(), "..1", Some("one"));
    let first = reader.read().unwrap();
    assert_eq!((&first.bytes[..], reader.version()), (&b"one"[..], Some(first.version.clone())));
    swap(temporary.path(), "..2", Some("two"));
    assert_ne!(reader.version(), Some(first.version));
    assert_eq!(reader.read().unwrap().bytes, b"two");
}

#[test]
fn a_plain_file_is_followed() {
    let temporary = tempfile::tempdir().unwrap();
    let reader = MountReader::new(temporary.path(), ["cache.json"]);
    std::fs::write(temporary.path().join("cache.json"), "one").unwrap();
    let first = reader.read().unwrap();
    assert!(matches!(first.version, Version::Plain(..)));
    std::fs::write(temporary.path().join("cache.json"), "longer").unwrap();
    assert_ne!(reader.version(), Some(first.version));
}
