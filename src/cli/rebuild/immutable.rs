//! `pushroll rebuild --immutable`: each document in an immutable ConfigMap of its own, and workloads pointed at it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::report::RebuildReport;
use crate::cache::configmap::{CacheConfigMap, WriteError};
use crate::cache::immutable::{CacheVolumes, Versions};
use crate::cache::scan;
use crate::cli::Answered;
use crate::cli::cluster_commands::CLOCK_MARGIN;
use crate::cli::output::{OutputFormat, print, print_json};
use crate::cluster::Cluster;
use crate::index::Scope;
use crate::rollout::BY_HAND_FIELD_MANAGER;
use crate::workload::WorkloadRef;

/// What is printed as JSON.
#[derive(Serialize)]
struct RebuiltVersion {
    #[serde(flatten)]
    report: RebuildReport,
    /// The name of the ConfigMap, as a volume has it.
    name: String,
    /// The workloads of `--set-volume`.
    volumes: Vec<Pointed>,
    /// Old versions that were deleted.
    deleted: Vec<String>,
    /// Why none was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_deleted: Option<String>,
}

/// A workload after `--set-volume`.
#[derive(Serialize)]
struct Pointed {
    workload: String,
    /// The volumes that were changed; none where all of them pointed there already.
    changed: Vec<String>,
}

/// The order matters: an impossible --set-volume is found before anything is written, the new ConfigMap exists before a
/// workload is pointed at it, and an old one is deleted only when no workload needs it any more.
pub(super) async fn run(
    output: OutputFormat,
    cluster: &Cluster,
    cache: &CacheConfigMap,
    scope: &Scope,
    set_volumes: &[WorkloadRef],
    dry_run: bool,
) -> anyhow::Result<Answered> {
    let once: BTreeSet<&WorkloadRef> = set_volumes.iter().collect();
    let mut mounting = Vec::new();
    for workload in once {
        mounting.push(CacheVolumes::of(cluster, cache, workload).await?);
    }
    let mut versions = Versions::list(cluster, cache).await?;
    let scan = scan::scan(cluster, scope, CLOCK_MARGIN).await?;
    let seen = scan.seen(scope);
    let (_, images) = seen.over(|| versions.current_document());
    let current = versions.write(cluster, &seen, dry_run).await?;
    let mut in_use = BTreeSet::from([current.name.clone()]);
    let mut volumes = Vec::new();
    for mut workload in mounting {
        in_use.extend(workload.config_maps());
        let changed = workload.point_at(cluster, &current.name, BY_HAND_FIELD_MANAGER, dry_run).await?;
        in_use.extend(workload.config_maps());
        volumes.push(Pointed { workload: workload.workload().to_string(), changed });
    }
    let (deleted, not_deleted) = match versions.delete_old(cluster, &current.name, &in_use, dry_run).await {
        Ok(deleted) => (deleted, None),
        // The new version is written. The next rebuild that may look deletes the old ones.
        Err(error @ WriteError::UseUnknown { .. }) => (Vec::new(), Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };

    let config_map = CacheConfigMap { name: current.name.clone(), ..cache.clone() };
    let report = RebuildReport::new(&images, &scan.forbidden, &config_map, &current.write_back);
    let version = RebuiltVersion { report, name: current.name, volumes, deleted, not_deleted };
    match output {
        OutputFormat::Json => print_json(&version)?,
        OutputFormat::Name => print(&format!("{}\n", version.name))?,
        OutputFormat::Table => print(&format!("{}\n{}\n", version.report.word(), version.name))?,
    }
    if output != OutputFormat::Json {
        version.print_details(dry_run);
    }
    Ok(version.report.answered())
}

impl RebuiltVersion {
    fn print_details(&self, dry_run: bool) {
        self.report.print_details(dry_run);
        for Pointed { workload, changed } in &self.volumes {
            if changed.is_empty() {
                anstream::eprintln!("{workload}: mounts it already");
            } else {
                let done = if dry_run { "would be pointed" } else { "pointed" };
                anstream::eprintln!("{workload}: {done} at it ({})", changed.join(", "));
            }
        }
        if let Some(reason) = &self.not_deleted {
            anstream::eprintln!("{reason}");
        }
        for name in &self.deleted {
            let done = if dry_run { "would be deleted" } else { "deleted" };
            anstream::eprintln!("{name}: {done}, older than the last three and mounted by nobody");
        }
    }
}
