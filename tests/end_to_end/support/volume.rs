//! A mounted ConfigMap, written as the kubelet does.

use std::path::{Path, PathBuf};

use embedded_kubernetes::ProjectedVolume;
use serde_json::Value;

use super::ground::Ground;

/// The volume of one pod.
pub struct Volume {
    volume: ProjectedVolume,
    directory: PathBuf,
}

impl Ground {
    /// A volume with nothing in it yet, not even `..data`.
    pub fn volume(&self) -> Volume {
        let directory = self.directory().join("volume");
        Volume { volume: ProjectedVolume::create(&directory).unwrap(), directory }
    }
}

impl Volume {
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The ConfigMap has this `cache.json` and nothing else.
    pub fn show(&mut self, document: &Value) {
        self.show_file("cache.json", document.to_string());
    }

    /// The ConfigMap has this key and nothing else.
    pub fn show_file(&mut self, key: &str, content: impl Into<Vec<u8>>) {
        self.volume.write(&[(key.to_owned(), content.into())].into()).unwrap();
    }

    /// What a failed write of the kubelet leaves: an empty directory.
    pub fn tear_down(&mut self) {
        self.volume.tear_down().unwrap();
    }
}
