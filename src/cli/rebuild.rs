//! `pushroll rebuild`: scan the cluster, write the ConfigMap, print `changed` or `unchanged`.

mod immutable;

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde::Serialize;

use super::cluster_commands::CLOCK_MARGIN;
use super::output::{OutputFormat, print, print_json};
use super::{Answered, GlobalArgs};
use crate::arguments::namespace_name;
use crate::cache::capacity;
use crate::cache::configmap::{CacheConfigMap, Outcome, Written};
use crate::cache::mount_refresh::{RefreshError, refresh_mounts};
use crate::cache::scan::{self, Scan};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::index::Scope;
use crate::telemetry::Metrics;
use crate::workload::WorkloadRef;

#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Only these namespaces [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
    /// After a change, annotate the pods labelled pushroll.dev/mounts: the kubelet then shows it at once (without --immutable)
    #[arg(long, env = "PUSHROLL_REFRESH_MOUNTS", value_parser = FalseyValueParser::new())]
    refresh_mounts: bool,
    /// Write an immutable ConfigMap, NAME-HASH by its content; keep the last three; print its name
    #[arg(long)]
    immutable: bool,
    /// Point the volumes of this workload that mount the cache at the new ConfigMap; may be given several times
    #[arg(long = "set-volume", value_name = "NAMESPACE/KIND/NAME", requires = "immutable")]
    set_volumes: Vec<WorkloadRef>,
}

#[derive(Debug, Serialize)]
struct Rebuilt {
    result: Written,
    config_map: String,
    images: usize,
    workloads: usize,
    /// Told that what they mount has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    refreshed_pods: Option<usize>,
}

pub(super) async fn run(global: &GlobalArgs, args: RebuildArgs) -> anyhow::Result<Answered> {
    let client = global.connect().await?;
    let config_map = global.config_map(&client);
    let cluster = Cluster::new(client, Clock::system(), Arc::new(Metrics::new()));
    if args.immutable {
        return immutable::run(global, &args, &cluster, &config_map).await;
    }
    // Before the scan: its answer tells the API server's time, and which version the write will replace.
    let stored = config_map.read(&cluster).await?;
    if let Err(error) = &stored.document {
        tracing::info!("{error}");
    }
    let scan = scan(&cluster, &args).await?;
    let outcome = config_map.write(&cluster, &scan.head, &scan.images, stored.object, args.dry_run).await?;
    let refreshed = refresh(&cluster, &config_map, &args, &outcome).await;
    let refreshed_pods = refreshed.as_ref().ok().copied().flatten();
    let rebuilt = Rebuilt { refreshed_pods, ..Rebuilt::of(&scan, &config_map, &outcome) };
    if global.output == OutputFormat::Json {
        print_json(&rebuilt)?;
    } else {
        print(&format!("{}\n", rebuilt.word()))?;
        rebuilt.tell(args.dry_run);
    }
    // What was written stands, and was said.
    refreshed?;
    Ok(Answered::Yes)
}

/// Tells the pods that mount the ConfigMap, if that was asked for and it was changed. How many, where it did.
async fn refresh(
    cluster: &Cluster,
    config_map: &CacheConfigMap,
    args: &RebuildArgs,
    outcome: &Outcome,
) -> Result<Option<usize>, RefreshError> {
    match &outcome.resource_version {
        Some(resource_version) if args.refresh_mounts && outcome.written == Written::Changed => {
            refresh_mounts(cluster, config_map, resource_version).await.map(Some)
        }
        _ => Ok(None),
    }
}

async fn scan(cluster: &Cluster, args: &RebuildArgs) -> Result<Scan, scan::ScanError> {
    scan::scan(cluster, &Scope::of(&args.namespaces), CLOCK_MARGIN).await
}

impl Rebuilt {
    /// What is left in this ConfigMap; says so where it grows full.
    fn of(scan: &Scan, config_map: &CacheConfigMap, outcome: &Outcome) -> Self {
        if let Some(warning) = capacity::warning(outcome.values_bytes) {
            anstream::eprintln!("pushroll: {warning}");
        }
        let result = outcome.written;
        let workloads: BTreeSet<_> = scan.images.values().flatten().collect();
        Self {
            result,
            config_map: config_map.to_string(),
            images: scan.images.len(),
            workloads: workloads.len(),
            refreshed_pods: None,
        }
    }

    fn word(&self) -> &'static str {
        match self.result {
            Written::Changed => "changed",
            Written::Unchanged | Written::NewerKept => "unchanged",
        }
    }

    fn tell(&self, dry_run: bool) {
        let note = match self.result {
            Written::NewerKept => " (a newer scan is there already, and stays)",
            _ if dry_run => " (dry run: nothing was written)",
            _ => "",
        };
        anstream::eprintln!("{}: {} images, {} workloads{note}", self.config_map, self.images, self.workloads);
        if let Some(pods) = self.refreshed_pods {
            anstream::eprintln!("{pods} pods that mount it were told");
        }
    }
}
