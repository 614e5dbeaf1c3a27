//! `pushroll restart IMAGE` and `pushroll restart -w NAMESPACE/KIND/NAME`: a restart now, which depends on no push and
//! writes no record.

mod followed;
#[cfg(feature = "pull")]
mod from;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::cluster_commands::{CONCURRENCY, SCAN_LIMIT, deliveries, with_documents};
use super::output::{OutputFormat, print_json};
use super::shown_answer::{judge, show};
use super::{Answered, GlobalArgs};
use crate::arguments::positive_duration;
use crate::clock::{Clock, parse_duration};
use crate::cluster::{Cluster, ClusterMetrics};
use crate::delivery::answer::Answer;
use crate::ending::Ending;
use crate::following::Rollout;
use crate::image::ImageRef;
use crate::rollout::PolicyArgs;
use crate::rollout::restart::Mode;
use crate::rollout::{ByHand, KnownBefore, Restarter, RolloutMetrics};
use crate::workload::WorkloadRef;
use followed::follow_all;

/// A year. A longer wait is as good as endless, and might be more than the clock can count to.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What to restart, one of these.
const SOURCES: &[&str] = if cfg!(feature = "pull") { &["image", "workloads", "from"] } else { &["image", "workloads"] };

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(SOURCES)),
    after_help = "By image it leaves what a push would leave, and says why. What is named with -w is restarted even \
        where it opts out or is out of scope.\n\nExit 3: nothing was to be restarted, since nobody runs \
        the image, or all who do are left."
)]
pub(super) struct RestartArgs {
    /// Those that run this image, such as nginx:1.27
    image: Option<ImageRef>,
    /// This workload, such as shop/deployment/web; may be given several times
    #[arg(short, long = "workload", value_name = "NAMESPACE/KIND/NAME")]
    workloads: Vec<WorkloadRef>,
    #[cfg(feature = "pull")]
    #[command(flatten)]
    from: from::FromArgs,
    /// Say what would be restarted, and restart nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until the rollouts have ended
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// With --wait: the longest wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = longest_wait)]
    timeout: Duration,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// What is printed as JSON: a push's answer, and how the rollouts ended.
#[derive(Serialize)]
struct Restarted<'a> {
    #[serde(flatten)]
    answer: &'a Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollouts: Option<&'a [Rollout]>,
}

pub(super) async fn run(global: &GlobalArgs, args: RestartArgs) -> anyhow::Result<Answered> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Apply };
    #[cfg(feature = "pull")]
    if let Some(subscription) = &args.from.from {
        let wait = args.wait.then_some(args.timeout);
        return from::run(global, subscription, &args.from, &args.policy, (mode, wait)).await;
    }
    let (answer, cluster) = match &args.image {
        Some(image) => by_image(global, image, &args.policy, mode).await?,
        None => by_name(global, args.workloads, &args.policy, mode).await?,
    };
    let mut rollouts = None;
    if global.output != OutputFormat::Json {
        // Before the wait, so that people see what is waited for.
        show(global.output, &answer)?;
    }
    if args.wait {
        rollouts = Some(follow_all(&cluster, std::slice::from_ref(&answer), args.timeout).await);
    }
    if global.output == OutputFormat::Json {
        print_json(&Restarted { answer: &answer, rollouts: rollouts.as_deref() })?;
    }
    let has_failed = rollouts.iter().flatten().any(|rollout| rollout.ending != Ending::Complete);
    Ok(match judge(&answer)? {
        _ if has_failed => Answered::Failed,
        // A script must notice that a workload may have been left out.
        _ if answer.is_part_unseen() => {
            anstream::eprintln!("workloads there may run the image, and were not restarted");
            Answered::Failed
        }
        // Exit 3: a script that asks for a restart must notice that there was none.
        Answered::Yes if answer.restarted().next().is_none() => {
            anstream::eprintln!("nothing is to be restarted: all who run the image are left");
            Answered::No
        }
        answered => answered,
    })
}

async fn by_image(
    global: &GlobalArgs,
    image: &ImageRef,
    policy: &PolicyArgs,
    mode: Mode,
) -> anyhow::Result<(Answer, Cluster)> {
    let (resolver, deliveries, cluster) = deliveries(global, policy).await?;
    Ok((
        with_documents(global, &resolver, deliveries.restart(image, mode, deliveries.received(), &BTreeSet::new()))
            .await,
        cluster,
    ))
}

async fn by_name(
    global: &GlobalArgs,
    workloads: Vec<WorkloadRef>,
    args: &PolicyArgs,
    mode: Mode,
) -> anyhow::Result<(Answer, Cluster)> {
    let cluster = Cluster::new(global.connect().await?, Clock::system(), ClusterMetrics::default());
    let restarter = Restarter::new(cluster.clone(), args.by_hand(CONCURRENCY), None, RolloutMetrics::default());
    let once: Vec<WorkloadRef> = workloads.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let results = restarter
        .restart_by_hand(&once, ByHand::Workload, mode, Instant::now() + SCAN_LIMIT, KnownBefore::default())
        .await;
    Ok((Answer::of_workloads(None, results, mode), cluster))
}

/// The longest wait, as it is written.
pub(super) fn longest_wait(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(wait) if wait > WAIT_MAX => Ok(WAIT_MAX),
        _ => positive_duration(text),
    }
}
