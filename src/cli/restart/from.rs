//! `pushroll restart --from SUBSCRIPTION`: restarts what the messages of a dead-letter subscription name, by the tag as it
//! is now. A message that is done is acknowledged, the others are given back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use http::Uri;
use serde::Serialize;

use super::followed::follow_all;
use crate::cache::Resolver;
use crate::cli::arguments::emulator_host;
use crate::cli::cluster_commands::{deliveries, finish, with_running};
use crate::cli::output::{OutputFormat, print_json};
use crate::cli::shown_answer::{judge, show};
use crate::cli::{Answered, GlobalArgs};
use crate::delivery::answer::{Answer, Poison};
use crate::delivery::{Deliveries, ReadMessage, Received};
use crate::event::Message;
use crate::following::Rollout;
use crate::image::ImageRef;
use crate::pull::backlog::{Backlog, Lease};
use crate::pull::{PullArgs, SubscriptionName, endpoint};
use crate::rollout::restart::Mode;
use crate::rollout::{Action, PolicyArgs, WorkloadResult};
use crate::workload::WorkloadRef;

/// Which subscription, and where it is.
#[derive(Debug, Args)]
pub(super) struct FromArgs {
    /// Those that run an image of this dead-letter subscription's messages, projects/PROJECT/subscriptions/NAME;
    /// acknowledges the messages that are done
    #[arg(long, value_name = "SUBSCRIPTION")]
    pub(super) from: Option<SubscriptionName>,
    /// With --from: the address of Pub/Sub, a regional endpoint for example; https, or http on loopback
    #[arg(long, value_name = "URL", default_value_t = PullArgs::default().pull_endpoint, value_parser = endpoint, env = "PUSHROLL_PULL_ENDPOINT")]
    pull_endpoint: Uri,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Restarted<'a> {
    subscription: &'a str,
    /// The messages that were acknowledged; none in a dry run.
    acknowledged: usize,
    /// The messages that stay in the subscription although they were looked at, and why.
    left: &'a [Left],
    /// An answer for each image.
    images: &'a [Answer],
    #[serde(skip_serializing_if = "Option::is_none")]
    rollouts: Option<&'a [Rollout]>,
}

#[derive(Debug, Serialize)]
struct Left {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    reason: String,
}

/// The messages of one image.
type OfImage = Vec<(ReadMessage, Lease)>;

/// What has been done so far.
struct Run<'a> {
    global: &'a GlobalArgs,
    deliveries: &'a Deliveries,
    mode: Mode,
    /// When this run began: what was published before is done by a restart of this run.
    asked: Received,
    /// The workloads that were restarted, or would be.
    restarted: BTreeSet<WorkloadRef>,
    /// By image, why its messages stay; `None`: they are done.
    seen: BTreeMap<String, Option<String>>,
    answers: Vec<Answer>,
    acknowledged: usize,
    left: Vec<Left>,
    /// They stay under lease to the end, so that they do not come again in this run.
    leases: Vec<Lease>,
}

pub(super) async fn run(
    global: &GlobalArgs,
    subscription: &SubscriptionName,
    args: &FromArgs,
    policy: &PolicyArgs,
    (mode, wait): (Mode, Option<Duration>),
) -> anyhow::Result<Answered> {
    let pull =
        PullArgs { pull_endpoint: args.pull_endpoint.clone(), emulator_host: emulator_host()?, ..PullArgs::default() };
    let unreadable = |why| anyhow::anyhow!("{subscription} cannot be read: {why}");
    let mut backlog = Backlog::open(&pull, subscription).await.map_err(unreadable)?;
    let (resolver, deliveries, cluster) = deliveries(global, policy).await?;
    resolver.load_mount().await;
    let mut run = Run {
        global,
        deliveries: &deliveries,
        mode,
        asked: deliveries.received(),
        restarted: BTreeSet::new(),
        seen: BTreeMap::new(),
        answers: Vec::new(),
        acknowledged: 0,
        left: Vec::new(),
        leases: Vec::new(),
    };
    let max = usize::try_from(pull.pull_max_messages).unwrap_or(usize::MAX);
    let ended = with_running(&resolver, async {
        loop {
            let messages = backlog.next(max).await?;
            if messages.is_empty() {
                return Ok(());
            }
            run.restart(messages, &resolver).await;
            if run.leases.len() >= max {
                anstream::eprintln!(
                    "{max} messages were looked at and not acknowledged; the subscription may have more"
                );
                return Ok(());
            }
        }
    })
    .await;
    let Run { answers, acknowledged, left, leases, .. } = run;
    leases.into_iter().for_each(Lease::give_back);
    if !backlog.close().await {
        anstream::eprintln!("Pub/Sub did not confirm in time: messages that are done may come again");
    }
    for (reason, messages) in by_reason(&left) {
        anstream::eprintln!("left in {subscription}: {messages}: {reason}");
    }
    let rollouts = match wait {
        Some(timeout) => Some(follow_all(&cluster, &answers, timeout).await),
        None => None,
    };
    if global.output == OutputFormat::Json {
        let (left, images, rollouts) = (&left[..], &answers[..], rollouts.as_deref());
        print_json(&Restarted { subscription: subscription.as_str(), acknowledged, left, images, rollouts })?;
    } else {
        anstream::eprintln!("{acknowledged} messages of {subscription} were acknowledged, {} were left", left.len());
    }
    ended.map_err(unreadable)?;
    judged(&answers, &left, rollouts.as_deref())
}

impl Run<'_> {
    async fn restart(&mut self, messages: Vec<(Message, Lease)>, resolver: &Resolver) {
        // Two spellings may be one image.
        let mut by_image: BTreeMap<String, (ImageRef, OfImage)> = BTreeMap::new();
        for (message, lease) in messages {
            let message = ReadMessage::of(message);
            match message.image() {
                Ok(image) => {
                    let key = image.tag_key().unwrap_or_default().to_owned();
                    let (_, of_image) = by_image.entry(key).or_insert_with(|| (image.clone(), Vec::new()));
                    of_image.push((message, lease));
                }
                Err(ignored) if ignored.status(Poison::Nack) == 200 => self.done(lease),
                Err(ignored) => self.leave(&message, lease, ignored.reason.unwrap_or_default()),
            }
        }
        for (key, (image, messages)) in by_image {
            let why = match self.seen.get(&key) {
                Some(why) => why.clone(),
                None => self.restart_image(&image, resolver).await,
            };
            for (message, lease) in messages {
                match &why {
                    None => self.done(lease),
                    Some(why) => self.leave(&message, lease, format!("{image}: {why}")),
                }
            }
            self.seen.insert(key, why);
        }
    }

    /// Once in a run. Says why its messages stay.
    async fn restart_image(&mut self, image: &ImageRef, resolver: &Resolver) -> Option<String> {
        // One scan proves them all.
        let mut answer = self.deliveries.restart(image, self.mode, self.asked, &self.restarted).await;
        finish(self.global, resolver, &mut answer);
        if self.global.output != OutputFormat::Json {
            // A closed pipe must not keep the other images from a restart.
            let _ = show(self.global.output, &answer);
        }
        self.restarted.extend(answer.restarted().map(WorkloadResult::workload));
        let why = why_left(&answer);
        self.answers.push(answer);
        why
    }

    fn done(&mut self, lease: Lease) {
        match self.mode {
            Mode::DryRun => self.leases.push(lease),
            Mode::Apply => {
                self.acknowledged += 1;
                lease.acknowledge();
            }
        }
    }

    fn leave(&mut self, message: &ReadMessage, lease: Lease, reason: String) {
        self.left.push(Left { message_id: message.id().map(str::to_owned), reason });
        self.leases.push(lease);
    }
}

/// The reasons, each with its messages: the first one's id, and how many there are besides.
fn by_reason(left: &[Left]) -> BTreeMap<&str, String> {
    let mut reasons: BTreeMap<&str, Vec<&Left>> = BTreeMap::new();
    left.iter().for_each(|left| reasons.entry(&left.reason).or_default().push(left));
    let shown = |messages: Vec<&Left>| {
        let id = messages.first().and_then(|first| first.message_id.as_deref()).unwrap_or("a message without an id");
        if messages.len() == 1 { id.to_owned() } else { format!("{id} and {} more", messages.len() - 1) }
    };
    reasons.into_iter().map(|(reason, messages)| (reason, shown(messages))).collect()
}

/// Why the messages of an image stay; `None` where nothing is left to do.
fn why_left(answer: &Answer) -> Option<String> {
    let failed = answer.workloads.iter().find(|workload| workload.action() == Action::Failed);
    if let Some(failed) = failed {
        Some(format!("{}: {}", failed.workload(), failed.reason))
    } else if answer.is_part_unseen() {
        Some("a part of the cluster could not be seen".to_owned())
    } else {
        answer.reason.clone()
    }
}

fn judged(answers: &[Answer], left: &[Left], rollouts: Option<&[Rollout]>) -> anyhow::Result<Answered> {
    let is_failed = |rollout: &Rollout| rollout.ending != crate::ending::Ending::Complete;
    if !left.is_empty() || rollouts.unwrap_or_default().iter().any(is_failed) {
        return Ok(Answered::Failed);
    }
    let mut restarted = false;
    for answer in answers {
        judge(answer)?;
        restarted |= answer.restarted().next().is_some();
    }
    if !restarted {
        anstream::eprintln!("nothing is to be restarted");
    }
    Ok(if restarted { Answered::Yes } else { Answered::No })
}
