//! `pushroll lookup IMAGE`: which workloads run it.

use clap::Args;

use super::cluster_commands::first_index;
use super::output::{
    OutputFormat, describe_source, name_unseen, of_those_seen, print, print_json, print_names, print_passed_over, table,
};
use super::{Answered, GlobalArgs};
use crate::arguments::namespace_name;
use crate::cache::{Tier, UnseenPart};
use crate::clock::Clock;
use crate::delivery::answer::Source;
use crate::error_chain::with_causes;
use crate::image::ImageRef;
use crate::index::Scope;
use crate::index::document::stored::{Stored, both_forms};
use crate::server::LookupAnswer;
use anyhow::Context as _;

#[derive(Debug, Args)]
pub(super) struct LookupArgs {
    /// An image reference, such as nginx:1.27 or us-docker.pkg.dev/project/repository/web:1
    image: ImageRef,
    /// Read the mount alone; never talk to the API server
    #[arg(long)]
    no_api: bool,
    /// Where nothing is cached, scan these namespaces alone [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
}

pub(super) fn run(global: &GlobalArgs, args: &LookupArgs) -> anyhow::Result<Answered> {
    let answer = match in_mount(global, &args.image) {
        Err(error) if args.no_api => return Err(error),
        Err(error) => super::single()?.block_on(in_cluster(global, args, with_causes(error.as_ref())))?,
        Ok(answer) => answer,
    };
    show(global.output, &args.image, &answer)?;
    Ok(if answer.workloads.is_empty() { Answered::No } else { Answered::Yes })
}

/// Fast, because workflows run this again and again, each time in a new process: it builds no index and no client, and
/// sets up nothing else that it does not need.
fn in_mount(global: &GlobalArgs, image: &ImageRef) -> anyhow::Result<LookupAnswer> {
    let file = global.mount().read()?;
    let looked_up = Stored::found_under(&file.key, file.bytes)
        .look_up(image)
        .with_context(|| format!("the document mounted at {} is unusable", global.cache_dir().display()))?;
    let mut warnings = looked_up.warnings;
    if file.has_other_key {
        warnings.push(both_forms(global.cache_dir().display(), &file.key));
    }
    if !warnings.is_empty() {
        global.init_logging(super::QUIET);
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(LookupAnswer {
        image: image.as_written().to_owned(),
        source: Source {
            tier: Tier::Mount,
            as_of: looked_up.head.newest(),
            authoritative: false,
            failed_tiers: Vec::new(),
            unseen_parts: looked_up.head.unseen().cloned().map(UnseenPart::from).collect(),
        },
        workloads: looked_up.workloads,
    })
}

async fn in_cluster(global: &GlobalArgs, args: &LookupArgs, unmounted: String) -> anyhow::Result<LookupAnswer> {
    global.init_logging(super::QUIET);
    let (loaded, source) = first_index(global, Scope::of(&args.namespaces), unmounted).await?;
    Ok(LookupAnswer { image: args.image.as_written().to_owned(), source, workloads: loaded.index.lookup(&args.image) })
}

fn show(format: OutputFormat, image: &ImageRef, answer: &LookupAnswer) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => print_json(answer)?,
        OutputFormat::Name => print_names(&answer.workloads)?,
        OutputFormat::Table => {
            let source = describe_source(&answer.source, Clock::system().now());
            if answer.workloads.is_empty() {
                anstream::eprintln!("no workload{} runs {image} ({source})", of_those_seen(&answer.source));
            } else {
                print(&table(
                    ["NAMESPACE", "KIND", "NAME"],
                    answer.workloads.iter().map(|w| [w.namespace.to_string(), w.kind.to_string(), w.name.to_string()]),
                ))?;
                anstream::eprintln!("{source}");
            }
        }
    }
    name_unseen(&answer.source);
    if format != OutputFormat::Json {
        print_passed_over(&answer.source);
    }
    Ok(())
}
