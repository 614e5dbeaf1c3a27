//! The ConfigMaps that a workload's pods mount, and the PATCH that makes it mount another.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::metrics::Verb;
use super::request::{Call, Cluster};
use super::workloads::{Spec, Template, path};
use crate::workload::WorkloadRef;

/// A workload's volumes.
#[derive(Debug, Deserialize)]
pub struct WorkloadVolumes {
    metadata: Metadata,
    spec: Template<Spec<Volumes>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Volumes {
    #[serde(default)]
    volumes: Vec<Value>,
}

/// A volume of a pod template, or a source of a projected volume, that names a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapReference {
    /// The name of the volume.
    pub volume: String,
    /// The name of the ConfigMap.
    pub config_map: String,
}

impl WorkloadVolumes {
    /// Every reference to a ConfigMap.
    pub fn references(&self) -> Vec<ConfigMapReference> {
        let volumes = self.spec.template.spec.volumes.iter();
        let of_volume = |volume| config_maps_of(volume).map(move |name| (name_of(volume).to_owned(), name.to_owned()));
        volumes.flat_map(of_volume).map(|(volume, config_map)| ConfigMapReference { volume, config_map }).collect()
    }

    /// The volumes that have one of `references`, with `config_map` in its place.
    fn pointed(&self, references: &[&ConfigMapReference], config_map: &str) -> Vec<Value> {
        let mut pointed = Vec::new();
        for volume in &self.spec.template.spec.volumes {
            let is_meant = |source: &Value| {
                references.iter().any(|one| one.volume == name_of(volume) && source["name"] == *one.config_map)
            };
            if is_meant(&volume["configMap"]) {
                pointed.push(json!({"name": name_of(volume), "configMap": {"name": config_map}}));
            }
            let mut sources = volume["projected"]["sources"].clone();
            let projected = sources.as_array_mut().into_iter().flatten();
            let meant: Vec<_> = projected.filter(|source| is_meant(&source["configMap"])).collect();
            if !meant.is_empty() {
                meant.into_iter().for_each(|source| source["configMap"]["name"] = config_map.into());
                pointed.push(json!({"name": name_of(volume), "projected": {"sources": sources}}));
            }
        }
        pointed
    }

    /// The volumes in a sentence for people: `config (configMap settings), data (emptyDir)`.
    pub fn describe(&self) -> String {
        let described = self.spec.template.spec.volumes.iter().map(|volume| {
            let kind = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).find(|key| *key != "name");
            let config_maps: Vec<&str> = config_maps_of(volume).collect();
            let what = format!("{} {}", kind.unwrap_or_default(), config_maps.join(" "));
            format!("{} ({})", name_of(volume), what.trim())
        });
        let described: Vec<String> = described.collect();
        if described.is_empty() { "no volumes".to_owned() } else { described.join(", ") }
    }
}

/// The names of the ConfigMaps that a volume shows.
fn config_maps_of(volume: &Value) -> impl Iterator<Item = &str> {
    let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
    let named = std::iter::once(volume).chain(sources);
    named.filter_map(|source| source["configMap"]["name"].as_str())
}

fn name_of(volume: &Value) -> &str {
    volume["name"].as_str().unwrap_or_default()
}

impl Cluster {
    /// GET of a workload, for its volumes.
    pub async fn get_volumes(&self, workload: &WorkloadRef) -> Result<WorkloadVolumes, ApiError> {
        self.get_workload_as(workload).await
    }

    /// Makes these references of a workload name `config_map`, and leaves its other volumes as they are. Its pods roll.
    /// [`ApiError::Conflict`] if the workload has changed since it was read.
    ///
    /// A strategic merge identifies volumes by name. The sources of a projected volume have no names and are sent whole;
    /// because of the precondition that cannot bring back old ones.
    pub async fn point_volumes(
        &self,
        workload: &WorkloadRef,
        field_manager: &str,
        read: &WorkloadVolumes,
        references: &[&ConfigMapReference],
        config_map: &str,
    ) -> Result<(), ApiError> {
        let version = read.metadata.resource_version.as_ref();
        let version = version.ok_or_else(|| ApiError::Unreadable(format!("{workload} has no resourceVersion")))?;
        let patch = json!({
            "metadata": {"resourceVersion": version},
            "spec": {"template": {"spec": {"volumes": read.pointed(references, config_map)}}},
        });
        let uri = format!("{}?fieldManager={field_manager}", path(workload));
        let body = Some(("application/strategic-merge-patch+json", patch.to_string().into_bytes()));
        let call = Call { verb: Verb::Patch, resource: workload.kind.into(), uri, body };
        self.slow_write(call, |_| {}).await.map(drop)
    }
}
