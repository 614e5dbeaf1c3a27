//! `pushroll rebuild`: scan the cluster, write the ConfigMap, print `changed` or `unchanged`.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::arguments::namespace_name;
use super::cluster_commands::CLOCK_MARGIN;
use super::output::{OutputFormat, print, print_json};
use super::{Answered, GlobalArgs};
use crate::cache::configmap::Written;
use crate::cache::{capacity, scan};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::index::Scope;
use crate::telemetry::Metrics;

#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Only these namespaces [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Rebuilt {
    result: Written,
    config_map: String,
    images: usize,
    workloads: usize,
}

pub(super) async fn run(global: &GlobalArgs, args: RebuildArgs) -> anyhow::Result<Answered> {
    let client = global.connect().await?;
    let config_map = global.config_map(&client);
    let cluster = Cluster::new(client, Clock::system(), Arc::new(Metrics::new()));
    // Before the scan: its answer tells the API server's time, and which version the write will replace.
    let stored = config_map.read(&cluster).await?;
    if let Err(error) = &stored.document {
        tracing::info!("{error}");
    }
    let scan = scan::scan(&cluster, &Scope::of(&args.namespaces), CLOCK_MARGIN).await?;
    let outcome = config_map.write(&cluster, &scan.head, &scan.images, stored.object, args.dry_run).await?;
    if let Some(warning) = capacity::warning(outcome.values_bytes) {
        anstream::eprintln!("pushroll: {warning}");
    }
    let result = outcome.written;
    let workloads: std::collections::BTreeSet<_> = scan.images.values().flatten().collect();
    let rebuilt =
        Rebuilt { result, config_map: config_map.to_string(), images: scan.images.len(), workloads: workloads.len() };
    if global.output == OutputFormat::Json {
        print_json(&rebuilt)?;
    } else {
        let word = match result {
            Written::Changed => "changed",
            Written::Unchanged | Written::NewerKept => "unchanged",
        };
        print(&format!("{word}\n"))?;
        let note = match result {
            Written::NewerKept => " (a newer scan is there already, and stays)",
            _ if args.dry_run => " (dry run: nothing was written)",
            _ => "",
        };
        anstream::eprintln!("{}: {} images, {} workloads{note}", rebuilt.config_map, rebuilt.images, rebuilt.workloads);
    }
    Ok(Answered::Yes)
}
