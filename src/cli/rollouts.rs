//! `pushroll rollouts [IMAGE]`: what became of the last push of each image of each workload.

mod watched;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;

use super::output::{OutputFormat, print, print_json, print_names, style_state, table};
use super::restart::longest_wait;
use super::{Answered, GlobalArgs};
use crate::arguments::{config_map_name, namespace_name};
use crate::cache::unseen::describe;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterMetrics};
use crate::image::ImageRef;
use crate::index::{Part, Scope};
use crate::rollout::WaitingArgs;
use crate::rollout::waiting::Waiting;
use crate::rollouts::{LastPush, Look, Rollouts};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit 0: every rollout is complete, or superseded by a later restart. Exit 1: a rollout has failed, is \
    gone, unknown or under way, a push waits, or something could not be seen. Exit 3: no workload has a push."
)]
pub(super) struct RolloutsArgs {
    /// Only pushes of this image, such as nginx:1.27; also says what the pods run [default: all images]
    image: Option<ImageRef>,
    /// Follow until all have ended, with progress on a terminal
    #[arg(long)]
    watch: bool,
    /// With --watch: the longest time
    #[arg(long, requires = "watch", value_name = "DURATION", default_value = "5m", value_parser = longest_wait)]
    timeout: Duration,
    /// Only workloads in these namespaces [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
    /// The ConfigMap in which pushes wait, in the namespace of the cache
    #[arg(
        long,
        value_name = "NAME",
        default_value = WaitingArgs::default().waiting_configmap,
        value_parser = config_map_name,
        env = "PUSHROLL_WAITING_CONFIGMAP"
    )]
    waiting_configmap: String,
}

pub(super) async fn run(global: &GlobalArgs, args: RolloutsArgs) -> anyhow::Result<Answered> {
    let client = global.connect().await?;
    let namespace = global.config_map(&client)?.namespace;
    let cluster = Cluster::new(client, Clock::system(), ClusterMetrics::default());
    let waiting = Waiting::new(cluster.clone(), &namespace, &args.waiting_configmap);
    let scope = Scope::of(&args.namespaces);
    let image = args.image.as_ref();
    let look = Look { cluster: &cluster, scope: &scope, waiting: &waiting, image, no_pods: None };
    let mut seen = look.all().await.context("the workloads cannot be listed")?;
    let mut is_whole = true;
    if args.watch {
        (seen, is_whole) = watched::follow(look, seen, args.timeout).await?;
    }
    let rollouts = seen.rollouts();
    show(global.output, &rollouts)?;
    Ok(if !is_whole || !judge(&rollouts) {
        Answered::Failed
    } else if rollouts.rollouts.is_empty() {
        Answered::No
    } else {
        Answered::Yes
    })
}

/// Whether every push is done, and everything could be seen.
fn judge(answer: &Rollouts) -> bool {
    answer.rollouts.iter().all(|push| push.state.is_done())
        && answer.unseen_parts.is_empty()
        && answer.unseen_pushes.is_empty()
        && answer.unreadable_records.is_empty()
        && answer.waiting_unread.is_none()
}

fn show(format: OutputFormat, answer: &Rollouts) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => print_json(answer)?,
        OutputFormat::Name => {
            let workloads: BTreeSet<_> = answer.rollouts.iter().map(|push| &push.workload).collect();
            print_names(workloads)?;
        }
        OutputFormat::Table if answer.rollouts.is_empty() => {}
        OutputFormat::Table => {
            let now = Clock::system().now();
            let header = ["NAMESPACE", "KIND", "NAME", "IMAGE", "PUSHED", "RESTARTED", "STATE", "REASON"];
            print(&table(header, answer.rollouts.iter().map(|push| row(push, now))))?;
        }
    }
    if answer.rollouts.is_empty() {
        let of = answer.image.as_ref().map(|image| format!(" of {image}")).unwrap_or_default();
        anstream::eprintln!("no workload was restarted for a push{of}, and none waits");
    }
    if !answer.unseen_parts.is_empty() {
        anstream::eprintln!("pushroll: {}", describe(&answer.unseen_parts));
    }
    if let Some(why) = &answer.waiting_unread {
        anstream::eprintln!("pushroll: what waits is not known: {why}");
    }
    for workload in &answer.unreadable_records {
        anstream::eprintln!("pushroll: {workload}: its record of pushes (pushroll.dev/pushes) cannot be read");
    }
    for unseen in &answer.unseen_pushes {
        let part = Part::describe([&unseen.part]);
        anstream::eprintln!("pushroll: a push of {} waits for {part}, which could not be seen", unseen.push.image);
    }
    Ok(())
}

fn row(push: &LastPush, now: Timestamp) -> [String; 8] {
    let age_of = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| age(at, now));
    [
        push.workload.namespace.to_string(),
        push.workload.kind.to_string(),
        push.workload.name.to_string(),
        push.push.image.clone(),
        age_of(push.push.published),
        age_of(push.restarted_at),
        style_state(push.state),
        push.reason.clone(),
    ]
}

/// How long ago, in its largest unit: `35s`, `12m`, `5h`, `3d`.
fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for (at, shown) in [
            ("2026-11-20T12:00:05Z", "0s"),
            ("2026-11-20T11:58:01Z", "119s"),
            ("2026-11-20T11:58:00Z", "2m"),
            ("2026-11-20T09:00:00Z", "3h"),
            ("2026-11-17T12:00:00Z", "3d"),
        ] {
            assert_eq!(age(at.parse().unwrap(), now), shown, "{at}");
        }
    }
}
