//! `pushroll explain IMAGE`: what a push of it would do, workload by workload, and why.

use std::sync::Arc;

use clap::Args;

use super::cluster_commands::{SCAN_LIMIT, resolver, with_running};
use super::output::{OutputFormat, answer_table, describe_source, print, print_json, print_names};
use super::serve::PolicyArgs;
use super::{Answered, GlobalArgs};
use crate::clock::Clock;
use crate::delivery::answer::Outcome;
use crate::delivery::{Deliveries, DeliveryConfig};
use crate::image::ImageRef;
use crate::rollout::{Action, Restarter};
use crate::telemetry::Metrics;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// An image reference with a tag, such as nginx:1.27
    image: ImageRef,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) async fn run(global: &GlobalArgs, args: ExplainArgs) -> anyhow::Result<Answered> {
    let policy = args.policy.policy();
    let (resolver, cluster) = resolver(global, policy.scope.clone(), args.policy.clock_margin).await?;
    let metrics = Arc::new(Metrics::new());
    let config = DeliveryConfig { hold: SCAN_LIMIT, allow_stale: false };
    let concurrency = 16;
    let restarter = Restarter::new(cluster, policy, args.policy.clock_margin, concurrency, Arc::clone(&metrics));
    let deliveries = Deliveries::new(config, Clock::system(), Arc::clone(&resolver), restarter, metrics);
    resolver.load_mount().await;
    let answer = with_running(&resolver, deliveries.explain(&args.image)).await;

    match global.output {
        OutputFormat::Json => print_json(&answer)?,
        OutputFormat::Name => print_names(&answer.workloads.iter().map(|w| w.workload()).collect::<Vec<_>>())?,
        OutputFormat::Table => {
            if answer.workloads.is_empty() {
                anstream::eprintln!("no workload runs {}", args.image);
            } else {
                print(&answer_table(&answer))?;
            }
            if let Some(source) = &answer.source {
                anstream::eprintln!("found {}", describe_source(source, Clock::system().now()));
            }
        }
    }
    if let Some(reason) = answer.reason.filter(|_| answer.outcome == Outcome::Failed) {
        anyhow::bail!(reason);
    }
    Ok(match answer.workloads.iter().any(|workload| workload.action == Action::Failed) {
        true => Answered::Failed,
        false if answer.workloads.is_empty() => Answered::No,
        false => Answered::Yes,
    })
}
