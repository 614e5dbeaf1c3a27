//! The mount: reads a key of a ConfigMap volume, never half of an update.
//!
//! The kubelet writes each version of a volume to a directory of its own and then swaps the link `..data`
//! to it in one rename; a file is never rewritten in place (Kubernetes: `pkg/volume/util/atomic_writer.go`).
//! So the link's target names a version: a change of it is a change of content, and a file opened under
//! it is whole. Inodes and times do not help: they may be the same in two versions.
//!
//! A file that lies in no such version is a `subPath` mount, which the kubelet never updates, or a plain
//! file: it is followed by time, size and inode.
//!
//! It must not know what the bytes mean. Blocking; usable on its own.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The link to the version that is shown.
const DATA: &str = "..data";
/// The kubelet removes the old version right after the swap; a read that finds it gone begins again.
const ATTEMPTS: usize = 10;

/// Reads the first of some keys that a mounted ConfigMap has.
#[derive(Debug, Clone)]
pub struct MountReader {
    directory: PathBuf,
    keys: Vec<String>,
}

/// What tells one version of the mount from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The target of the link `..data`.
    Projected(OsString),
    /// A plain file or a `subPath` mount: modification time (s, ns), size, inode.
    Plain(i64, i64, u64, u64),
}

/// The content of a key in one version of the mount.
#[derive(Debug)]
pub struct MountedFile {
    /// The version that was read.
    pub version: Version,
    /// The key that was there.
    pub key: String,
    /// The whole content.
    pub bytes: Vec<u8>,
    /// Whether another of the keys is there as well, and is passed over.
    pub has_other_key: bool,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No directory: nothing is mounted here.
    #[error("{0} does not exist: is the cache ConfigMap mounted there?")]
    NoDirectory(String),
    /// A mount without the keys: the ConfigMap is missing or empty, or the volume was torn down.
    #[error("{directory} has no {keys}: the ConfigMap is missing, empty, or has its content under another key")]
    NoKey {
        /// The mount.
        directory: String,
        /// The keys.
        keys: String,
    },
    /// Any other error of the file system.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// What was read.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl MountReader {
    /// Reads the first of `keys` that the ConfigMap mounted at `directory` has.
    pub fn new<K: Into<String>>(directory: impl Into<PathBuf>, keys: impl IntoIterator<Item = K>) -> Self {
        Self { directory: directory.into(), keys: keys.into_iter().map(Into::into).collect() }
    }

    /// Where it reads.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Which version is there now: one `readlink`, about a microsecond. `None` where there is none.
    pub fn version(&self) -> Option<Version> {
        match self.shown() {
            Some((target, _)) => Some(Version::Projected(target)),
            None => self.keys.iter().find_map(|key| {
                std::fs::metadata(self.directory.join(key)).ok().map(|metadata| plain_version(&metadata))
            }),
        }
    }

    /// The content of the first key that is there, all of one version.
    ///
    /// # Errors
    /// [`MountError`] where there is no content; an empty file is content.
    pub fn read(&self) -> Result<MountedFile, MountError> {
        for _ in 0..ATTEMPTS {
            let Some((target, directory)) = self.shown() else { return self.read_plain() };
            let found = self.first(&directory, |path| {
                let bytes = std::fs::read(path)?;
                Ok((Version::Projected(target.clone()), bytes))
            })?;
            match found {
                Some(file) => return Ok(file),
                // If the version is still the same, it has none of the keys. Else it was removed during the read.
                None if self.shown().is_some_and(|(now, _)| now == target) => return Err(self.no_key()),
                None => {}
            }
        }
        Err(MountError::Io {
            path: self.directory.display().to_string(),
            source: io::Error::other("the mount changed at every attempt"),
        })
    }

    fn read_plain(&self) -> Result<MountedFile, MountError> {
        let found = self.first(&self.directory, |path| {
            // The version is taken before the content, so that the next poll notices a write in between.
            let version = plain_version(&std::fs::metadata(path)?);
            Ok((version, std::fs::read(path)?))
        })?;
        match found {
            Some(file) => Ok(file),
            None if self.directory.is_dir() => Err(self.no_key()),
            None => Err(MountError::NoDirectory(self.directory.display().to_string())),
        }
    }

    /// Reads the first key that exists in `directory`.
    fn first(
        &self,
        directory: &Path,
        read: impl Fn(&Path) -> io::Result<(Version, Vec<u8>)>,
    ) -> Result<Option<MountedFile>, MountError> {
        for (number, key) in self.keys.iter().enumerate() {
            match read(&directory.join(key)) {
                Ok((version, bytes)) => {
                    let has_other_key = self.keys.iter().skip(number + 1).any(|other| directory.join(other).exists());
                    return Ok(Some(MountedFile { version, key: key.clone(), bytes, has_other_key }));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(MountError::Io { path: self.directory.join(key).display().to_string(), source });
                }
            }
        }
        Ok(None)
    }

    /// The name of the version that the volume shows now, and the directory that has the keys in it. `None`: what is here
    /// is in no version of a volume.
    fn shown(&self) -> Option<(OsString, PathBuf)> {
        if let Ok(target) = std::fs::read_link(self.directory.join(DATA)) {
            let directory = self.directory.join(&target);
            return Some((target.into_os_string(), directory));
        }
        // The volume may begin above this directory: `items` may give a key a path such as `images/cache.json`. Then the
        // first part of that path is the link into `..data`.
        let mut files = self.keys.iter().filter_map(|key| Some((key, self.directory.join(key).canonicalize().ok()?)));
        let (_, file) = files.next().filter(|(key, file)| file.ends_with(key))?;
        let version = file.ancestors().find(|path| is_version(path))?.file_name()?.to_owned();
        Some((version, file.parent()?.to_owned()))
    }

    fn no_key(&self) -> MountError {
        MountError::NoKey { directory: self.directory.display().to_string(), keys: self.keys.join(" or ") }
    }
}

/// Whether this is the directory of a version of a volume: a name with two dots in front, and beside it the link to one.
fn is_version(path: &Path) -> bool {
    let has_dots = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    has_dots && path.parent().is_some_and(|volume| std::fs::read_link(volume.join(DATA)).is_ok())
}

fn plain_version(metadata: &std::fs::Metadata) -> Version {
    Version::Plain(metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino())
}
