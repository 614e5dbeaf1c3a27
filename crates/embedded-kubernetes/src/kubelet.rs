//! The kubelet's half: how a ConfigMap becomes files.
//!
//! `AtomicWriter.Write` (`pkg/volume/util/atomic_writer.go` of Kubernetes 1.36), step by step, so that
//! readers in a test see just the states, and the order of them, that a pod sees.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::future::Future;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::kubernetes::EmbeddedKubernetes;
use super::random::random_number;
use super::resource::CONFIG_MAPS;
use super::store::Key;

const DATA: &str = "..data";
const DATA_TMP: &str = "..data_tmp";

/// The files of a mounted ConfigMap: `KEY -> ..data/KEY`, `..data -> ..TIMESTAMP.RANDOM`.
#[derive(Debug)]
pub struct ProjectedVolume {
    dir: PathBuf,
}

/// Keeps the mount of a ConfigMap, `optional: true`, up with the store until `shutdown`.
///
/// Woken by the store itself: a change is in the files at once, where a real kubelet takes up to 80 s.
/// As the kubelet does, it stops looking at a ConfigMap once that is immutable.
///
/// # Errors
/// When the directory cannot be written; what is in it then stays.
pub async fn mount_config_map(
    kubernetes: &EmbeddedKubernetes,
    namespace: &str,
    name: &str,
    dir: &Path,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut revisions = kubernetes.state.store().subscribe();
    let mut volume = ProjectedVolume::create(dir)?;
    let key = Key::of(&CONFIG_MAPS, Some(namespace), name);
    let follow = async {
        loop {
            revisions.mark_unchanged();
            let config_map = kubernetes.state.store().get(&key).cloned();
            let payload = config_map.as_deref().map(payload_of).unwrap_or_default();
            volume.write(&payload)?;
            let is_final = config_map.is_some_and(|config_map| config_map["immutable"] == true);
            if is_final || revisions.changed().await.is_err() {
                return std::future::pending::<io::Result<()>>().await;
            }
        }
    };
    tokio::select! {
        result = follow => result,
        () = shutdown => Ok(()),
    }
}

/// `data` and `binaryData` are files alike.
fn payload_of(config_map: &Value) -> BTreeMap<String, Vec<u8>> {
    let bag = |bag: &str| config_map[bag].as_object().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decoded = |value: &Value| STANDARD.decode(text(value)).unwrap_or_default();
    let data = bag("data").into_iter().map(|(key, value)| (key, text(&value).into_bytes()));
    let binary_data = bag("binaryData").into_iter().map(|(key, value)| (key, decoded(&value)));
    data.chain(binary_data).collect()
}

// === impl ProjectedVolume ===

impl ProjectedVolume {
    /// A volume in `dir`, which is made when it is not there. Empty, not even `..data`, until the
    /// first [`Self::write`].
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn create(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Makes the files those of `payload`. `false`: they were already, byte for byte, and no swap
    /// took place.
    ///
    /// # Errors
    /// When a key is no file name of a ConfigMap, or a step fails; earlier steps stand then, as they
    /// do in a pod.
    pub fn write(&mut self, payload: &BTreeMap<String, Vec<u8>>) -> io::Result<bool> {
        if let Some(key) = payload.keys().find(|key| !is_file_name(key)) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("not a key of a ConfigMap: {key:?}")));
        }
        let old = match fs::read_link(self.dir.join(DATA)) {
            Ok(target) => Some(self.dir.join(target)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let stale = old.as_deref().map(|old| stale_keys(old, payload)).transpose()?.unwrap_or_default();
        if let Some(old) = &old
            && stale.is_empty()
            && holds_already(old, payload)?
        {
            self.link_keys(payload)?;
            return Ok(false);
        }
        self.swap_in(payload)?;
        self.link_keys(payload)?;
        for key in stale {
            remove_if_there(&self.dir.join(key))?;
        }
        if let Some(old) = old {
            fs::remove_dir_all(old)?;
        }
        Ok(true)
    }

    /// What the kubelet does when a write fails: the directory stays, with nothing in it, until the
    /// pod is made anew (kubernetes#113242).
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn tear_down(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// A new directory with all files in it, then one rename that puts it in the place of the old.
    fn swap_in(&self, payload: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let fresh = self.create_timestamped_directory()?;
        let directory = self.dir.join(&fresh);
        for (key, content) in payload {
            let mut file: File =
                OpenOptions::new().write(true).create_new(true).mode(0o644).open(directory.join(key))?;
            file.write_all(content)?;
            // Whatever the umask.
            file.set_permissions(Permissions::from_mode(0o644))?;
        }
        let data_tmp = self.dir.join(DATA_TMP);
        let swapped = symlink(&fresh, &data_tmp).and_then(|()| fs::rename(&data_tmp, self.dir.join(DATA)));
        if swapped.is_err() {
            // The first failure is the one to tell.
            fs::remove_dir_all(&directory).ok();
        }
        swapped
    }

    /// `..2006_01_02_15_04_05.1234567890`
    fn create_timestamped_directory(&self) -> io::Result<PathBuf> {
        let time = Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
        loop {
            let name = PathBuf::from(format!("{time}.{}", random_number() >> 32));
            let directory = self.dir.join(&name);
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {
                    fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
                    return Ok(name);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn link_keys(&self, payload: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for key in payload.keys() {
            match symlink(Path::new(DATA).join(key), self.dir.join(key)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is in the old directory and no longer in the payload.
fn stale_keys(old: &Path, payload: &BTreeMap<String, Vec<u8>>) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(old) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut stale = BTreeSet::new();
    for entry in entries {
        let key = entry?.file_name().to_string_lossy().into_owned();
        if !payload.contains_key(&key) {
            stale.insert(key);
        }
    }
    Ok(stale)
}

fn holds_already(old: &Path, payload: &BTreeMap<String, Vec<u8>>) -> io::Result<bool> {
    for (key, content) in payload {
        match fs::read(old.join(key)) {
            Ok(found) if found == *content => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A key is one path segment, and none of the names that are the writer's own.
fn is_file_name(key: &str) -> bool {
    !key.is_empty() && key != "." && !key.starts_with("..") && !key.contains('/') && key.len() <= 255
}
