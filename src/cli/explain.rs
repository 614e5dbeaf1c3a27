//! `pushroll explain IMAGE`: what a push of it would do, workload by workload, and why.

use clap::Args;

use super::cluster_commands::{deliveries, with_documents};
use super::shown_answer::{judge, show};
use super::{Answered, GlobalArgs};
use crate::image::ImageRef;
use crate::rollout::PolicyArgs;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// An image reference with a tag, such as nginx:1.27
    image: ImageRef,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) async fn run(global: &GlobalArgs, args: ExplainArgs) -> anyhow::Result<Answered> {
    let (resolver, deliveries, _) = deliveries(global, &args.policy).await?;
    let answer = with_documents(global, &resolver, deliveries.explain(&args.image)).await;
    show(global.output, &answer)?;
    judge(&answer)
}
