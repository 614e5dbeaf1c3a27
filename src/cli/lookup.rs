//! `pushroll lookup IMAGE`: who runs it.

use std::sync::Arc;

use clap::Args;

use super::cluster_commands::first_index;
use super::output::{OutputFormat, describe_source, print, print_json, print_names, table};
use super::{Answered, GlobalArgs};
use crate::cache::{LoadedIndex, Tier};
use crate::clock::Clock;
use crate::delivery::answer::Source;
use crate::image::ImageRef;
use crate::index::document::stored::Stored;
use crate::server::LookupAnswer;
use anyhow::Context as _;

#[derive(Debug, Args)]
pub(super) struct LookupArgs {
    /// An image reference, such as nginx:1.27 or us-docker.pkg.dev/project/repository/web:1
    image: ImageRef,
    /// Read the mount alone; never talk to the API server
    #[arg(long)]
    no_api: bool,
}

pub(super) async fn run(global: &GlobalArgs, args: LookupArgs) -> anyhow::Result<Answered> {
    let (loaded, failed_tiers) =
        if args.no_api { (Arc::new(from_mount(global)?), Vec::new()) } else { first_index(global).await? };
    let answer = LookupAnswer {
        image: args.image.as_written().to_owned(),
        source: Source::of(&loaded, false, failed_tiers),
        workloads: loaded.index.lookup(&args.image),
    };
    match global.output {
        OutputFormat::Json => print_json(&answer)?,
        OutputFormat::Name => print_names(&answer.workloads)?,
        OutputFormat::Table => {
            let source = describe_source(&answer.source, Clock::system().now());
            if answer.workloads.is_empty() {
                anstream::eprintln!("no workload runs {} ({source})", args.image);
            } else {
                print(&table(
                    ["NAMESPACE", "KIND", "NAME"],
                    answer.workloads.iter().map(|w| [w.namespace.to_string(), w.kind.to_string(), w.name.to_string()]),
                ))?;
                anstream::eprintln!("{source}");
            }
        }
    }
    Ok(if answer.workloads.is_empty() { Answered::No } else { Answered::Yes })
}

pub(super) fn from_mount(global: &GlobalArgs) -> anyhow::Result<LoadedIndex> {
    let file = global.mount().read()?;
    let document = Stored::found_under(&file.key, file.bytes)
        .decode()
        .with_context(|| format!("the document mounted at {} is unusable", global.cache_dir().display()))?;
    for warning in &document.warnings {
        tracing::warn!("{warning}");
    }
    Ok(LoadedIndex {
        as_of: document.head.as_of,
        index: document.index,
        tier: Tier::Mount,
        covers_scope: false,
        is_narrower: false,
        scan_began: None,
        loaded_at: Clock::system().now(),
    })
}
