use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::*;

fn payload(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(key, content)| ((*key).to_owned(), content.as_bytes().to_vec())).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn generation(dir: &Path) -> String {
    fs::read_link(dir.join(DATA)).unwrap().into_os_string().into_string().unwrap()
}

#[test]
fn the_layout_is_that_of_a_pod() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    assert!(names(dir.path()).is_empty());
    assert!(volume.write(&payload(&[("a", "1"), ("b", "2")])).unwrap());

    let generation = generation(dir.path());
    assert_eq!(names(dir.path()), BTreeSet::from(["..data", "a", "b", &generation].map(str::to_owned)));
    assert_eq!(fs::read_link(dir.path().join("a")).unwrap(), Path::new("..data/a"));
    assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"2");
    assert_eq!(fs::metadata(dir.path().join("a")).unwrap().mode() & 0o777, 0o644);
    assert_eq!(fs::metadata(dir.path().join(&generation)).unwrap().mode() & 0o777, 0o755);

    let (time, random) = generation.rsplit_once('.').unwrap();
    assert!(random.bytes().all(|byte| byte.is_ascii_digit()), "{generation}");
    assert_eq!(time.strip_prefix("..").unwrap().split('_').map(str::len).collect::<Vec<_>>(), [4, 2, 2, 2, 2, 2]);
}

#[test]
fn equal_bytes_are_not_swapped() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    volume.write(&payload(&[("a", "1")])).unwrap();
    let before = generation(dir.path());
    assert!(!volume.write(&payload(&[("a", "1")])).unwrap());
    assert_eq!(generation(dir.path()), before);
}

#[test]
fn a_swap_removes_stale_links_and_the_old_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    volume.write(&payload(&[("a", "1"), ("b", "2")])).unwrap();
    let before = generation(dir.path());
    assert!(volume.write(&payload(&[("b", "2"), ("c", "3")])).unwrap());
    let after = generation(dir.path());
    assert_ne!(before, after);
    assert_eq!(names(dir.path()), BTreeSet::from(["..data", "b", "c", &after].map(str::to_owned)));
}

#[test]
fn a_removed_key_alone_is_a_swap() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    volume.write(&payload(&[("a", "1"), ("b", "2")])).unwrap();
    assert!(volume.write(&payload(&[("a", "1")])).unwrap());
    assert!(!dir.path().join("b").is_symlink());
}

#[test]
fn no_key_still_has_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    assert!(volume.write(&payload(&[])).unwrap());
    assert_eq!(names(dir.path()), BTreeSet::from(["..data", &generation(dir.path())].map(str::to_owned)));
    assert!(!volume.write(&payload(&[])).unwrap());
}

#[test]
fn a_volume_torn_down_is_empty_and_can_be_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    volume.write(&payload(&[("a", "1")])).unwrap();
    volume.tear_down().unwrap();
    assert!(names(dir.path()).is_empty());
    assert!(volume.write(&payload(&[("a", "1")])).unwrap());
}

#[test]
fn keys_that_lead_out_of_the_volume_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = ProjectedVolume::create(dir.path()).unwrap();
    for key in ["", ".", "..", "..data", "a/b", "/etc/passwd"] {
        let refused = volume.write(&payload(&[(key, "1")])).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{key:?}");
    }
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn a_mount_follows_its_config_map() {
    let dir = tempfile::tempdir().unwrap();
    let kubernetes = EmbeddedKubernetes::new();
    let config_maps: Api<ConfigMap> = Api::default_namespaced(kubernetes.client());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mount = tokio::spawn({
        let (kubernetes, dir) = (kubernetes.clone(), dir.path().to_owned());
        async move {
            let shutdown = async {
                stopped.await.ok();
            };
            mount_config_map(&kubernetes, "default", "cache", &dir, shutdown).await
        }
    });
    let until = async |reached: &dyn Fn() -> bool| {
        for _ in 0..500 {
            if reached() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not reached: {:?}", names(dir.path()));
    };
    let content = |key: &str| fs::read_to_string(dir.path().join(key)).ok();

    until(&|| dir.path().join(DATA).is_symlink()).await;
    let config_map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("cache".to_owned()), ..Default::default() },
        data: Some([("cache.json".to_owned(), "1".to_owned())].into()),
        ..Default::default()
    };
    config_maps.create(&PostParams::default(), &config_map).await.unwrap();
    until(&|| content("cache.json").as_deref() == Some("1")).await;

    let patch = json!({"data": {"cache.json": "2"}, "binaryData": {"gz": "aGk="}});
    config_maps.patch("cache", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until(&|| content("cache.json").as_deref() == Some("2") && content("gz").as_deref() == Some("hi")).await;

    config_maps.delete("cache", &DeleteParams::default()).await.unwrap();
    until(&|| content("cache.json").is_none()).await;
    assert!(dir.path().join(DATA).is_symlink());

    stop.send(()).unwrap();
    mount.await.unwrap().unwrap();
}
