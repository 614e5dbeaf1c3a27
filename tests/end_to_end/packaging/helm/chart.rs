//! The chart in `deploy/helm/pushroll`, as Helm renders it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use super::super::manifests::{Manifests, run};
use crate::support::control_plane::ADMIN;
use crate::support::ground::Ground;

pub(super) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/pushroll");

/// Helm as an administrator, kept away from the user's own settings.
pub(super) fn helm(ground: &Ground) -> Command {
    let mut helm = Command::new(ground.real().kubectl().with_file_name("helm"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HELM_") {
            helm.env_remove(name);
        }
    }
    for files in ["CACHE", "CONFIG", "DATA"] {
        helm.env(format!("HELM_{files}_HOME"), ground.directory().join("helm"));
    }
    helm.env("KUBECONFIG", ground.real().kubeconfig(ADMIN)).stdin(Stdio::null());
    helm
}

/// What a release of the chart consists of.
pub(super) fn render(ground: &Ground, release: &str, namespace: &str, values: &[&str]) -> Manifests {
    let mut template = helm(ground);
    template.args(["template", release, CHART, "--namespace", namespace]).args(values);
    Manifests::parse(&run(&mut template).stdout)
}

/// A file of values in the chart's `ci`.
pub(super) fn values(name: &str) -> String {
    format!("{CHART}/ci/{name}-values.yaml")
}

/// The names of all files of values.
pub(super) fn all_values() -> Vec<String> {
    let name =
        |file: PathBuf| file.file_name().unwrap().to_str().unwrap().strip_suffix("-values.yaml").unwrap().to_owned();
    let files = std::fs::read_dir(Path::new(CHART).join("ci")).unwrap();
    let mut names: Vec<_> = files.map(|file| name(file.unwrap().path())).collect();
    names.sort();
    names
}

/// A YAML or JSON file of the chart.
pub(super) fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = std::fs::read_to_string(Path::new(CHART).join(file)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}
