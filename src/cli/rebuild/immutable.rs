//! `pushroll rebuild --immutable`: each document in an immutable ConfigMap of its own, and workloads pointed at it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{RebuildArgs, Rebuilt, scan};
use crate::cache::configmap::CacheConfigMap;
use crate::cache::immutable::{CacheVolumes, Versions};
use crate::cli::output::{OutputFormat, print, print_json};
use crate::cli::{Answered, GlobalArgs};
use crate::cluster::Cluster;
use crate::rollout::BY_HAND_FIELD_MANAGER;
use crate::workload::WorkloadRef;

/// What is printed as JSON.
#[derive(Serialize)]
struct RebuiltVersion {
    #[serde(flatten)]
    rebuilt: Rebuilt,
    /// The ConfigMap's, without its namespace: what a volume names.
    name: String,
    /// Workloads that were pointed at it.
    volumes: Vec<Pointed>,
    /// Old versions.
    deleted: Vec<String>,
}

/// A workload after `--set-volume`.
#[derive(Serialize)]
struct Pointed {
    workload: String,
    /// Those that were changed; none where all of them pointed there already.
    changed: Vec<String>,
}

/// In this order: what cannot be done is found before anything is written, pods are never pointed at what does not
/// exist, and nothing is deleted that they may still need.
pub(super) async fn run(
    global: &GlobalArgs,
    args: &RebuildArgs,
    cluster: &Cluster,
    cache: &CacheConfigMap,
) -> anyhow::Result<Answered> {
    let once: BTreeSet<&WorkloadRef> = args.set_volumes.iter().collect();
    let mut mounting = Vec::new();
    for workload in once {
        mounting.push(CacheVolumes::of(cluster, cache, workload).await?);
    }
    let mut versions = Versions::list(cluster, cache).await?;
    let scan = scan(cluster, args).await?;
    let current = versions.write(cluster, &scan.head, &scan.images, args.dry_run).await?;
    let mut in_use = BTreeSet::from([current.name.clone()]);
    let mut volumes = Vec::new();
    for mut workload in mounting {
        in_use.extend(workload.config_maps());
        let changed = workload.point_at(cluster, &current.name, BY_HAND_FIELD_MANAGER, args.dry_run).await?;
        in_use.extend(workload.config_maps());
        volumes.push(Pointed { workload: workload.workload().to_string(), changed });
    }
    let deleted = versions.delete_old(cluster, &current.name, &in_use, args.dry_run).await?;

    let config_map = CacheConfigMap { name: current.name.clone(), ..cache.clone() };
    let rebuilt = Rebuilt::of(&scan, &config_map, &current.write_back);
    let version = RebuiltVersion { rebuilt, name: current.name, volumes, deleted };
    match global.output {
        OutputFormat::Json => print_json(&version)?,
        OutputFormat::Name => print(&format!("{}\n", version.name))?,
        OutputFormat::Table => print(&format!("{}\n{}\n", version.rebuilt.word(), version.name))?,
    }
    if global.output != OutputFormat::Json {
        version.tell(args.dry_run);
    }
    Ok(Answered::Yes)
}

impl RebuiltVersion {
    fn tell(&self, dry_run: bool) {
        self.rebuilt.tell(dry_run);
        for Pointed { workload, changed } in &self.volumes {
            if changed.is_empty() {
                anstream::eprintln!("{workload}: mounts it already");
            } else {
                let done = if dry_run { "would be pointed" } else { "pointed" };
                anstream::eprintln!("{workload}: {done} at it ({})", changed.join(", "));
            }
        }
        for name in &self.deleted {
            let done = if dry_run { "would be deleted" } else { "deleted" };
            anstream::eprintln!("{name}: {done}, older than the last three");
        }
    }
}
