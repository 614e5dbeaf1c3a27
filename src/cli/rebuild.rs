//! `pushroll rebuild`: scan the cluster, write the ConfigMap, print `changed` or `unchanged`.

mod immutable;
mod report;

use clap::Args;

use super::cluster_commands::CLOCK_MARGIN;
use super::output::{OutputFormat, print, print_json};
use super::{Answered, GlobalArgs};
use crate::arguments::{namespace_name, switch};
use crate::cache::configmap::{CacheConfigMap, ReadError, WriteBack, Written};
use crate::cache::mount_refresh::{RefreshError, refresh_mounts};
use crate::cache::scan;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterMetrics};
use crate::index::Scope;
use crate::workload::WorkloadRef;
use report::RebuildReport;

#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Only these namespaces [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
    /// After a change, annotate the pods labelled pushroll.dev/mounts: the kubelet then shows it at once (without --immutable)
    #[arg(long, env = "PUSHROLL_REFRESH_MOUNTS", value_parser = switch)]
    refresh_mounts: bool,
    /// Write an immutable ConfigMap, NAME-HASH by its content; keep the last three; print its name
    #[arg(long)]
    immutable: bool,
    /// Point the volumes of this workload that mount the cache at the new ConfigMap; may be given several times
    #[arg(long = "set-volume", value_name = "NAMESPACE/KIND/NAME", requires = "immutable")]
    set_volumes: Vec<WorkloadRef>,
}

pub(super) async fn run(global: &GlobalArgs, args: RebuildArgs) -> anyhow::Result<Answered> {
    let client = global.connect().await?;
    let config_map = global.config_map(&client)?;
    let cluster = Cluster::new(client, Clock::system(), ClusterMetrics::default());
    let scope = Scope::of(&args.namespaces);
    if args.immutable {
        return immutable::run(global.output, &cluster, &config_map, &scope, &args.set_volumes, args.dry_run).await;
    }
    // Before the scan: the answer has the API server's time, and the version that the write will replace.
    let stored = config_map.read(&cluster).await?;
    match &stored.document {
        Err(error @ ReadError::Document { .. }) => anstream::eprintln!("the document there was passed over: {error}"),
        Err(error) => tracing::info!("{error}"),
        Ok(document) => document.warnings.first().into_iter().for_each(|warning| tracing::warn!("{warning}")),
    }
    let scan = scan::scan(&cluster, &scope, CLOCK_MARGIN).await?;
    let seen = scan.seen(&scope);
    let (_, images) = seen.over(|| config_map.stored(stored.object.as_ref()?));
    let write_back = config_map.write(&cluster, &seen, stored.object, args.dry_run).await?;
    let refreshed = refresh(&cluster, &config_map, &args, &write_back).await;
    let refreshed_pods = refreshed.as_ref().ok().copied().flatten();
    let mut report = RebuildReport::new(&images, &scan.forbidden, &config_map, &write_back);
    report.refreshed_pods = refreshed_pods;
    if global.output == OutputFormat::Json {
        print_json(&report)?;
    } else {
        print(&format!("{}\n", report.word()))?;
        report.print_details(args.dry_run);
    }
    // An error here comes last: the write has succeeded, and its result is printed.
    refreshed?;
    Ok(report.answered())
}

/// Notifies the pods that mount the ConfigMap, if that was asked for and the images were changed. Returns how many.
async fn refresh(
    cluster: &Cluster,
    config_map: &CacheConfigMap,
    args: &RebuildArgs,
    write_back: &WriteBack,
) -> Result<Option<usize>, RefreshError> {
    match &write_back.resource_version {
        Some(resource_version) if args.refresh_mounts && write_back.written == Written::Changed => {
            refresh_mounts(cluster, config_map, resource_version).await.map(Some)
        }
        _ => Ok(None),
    }
}
