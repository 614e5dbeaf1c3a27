//! An answer about workloads on the command line: how it is shown, and which exit code it is.

use super::Answered;
use super::output::{OutputFormat, answer_table, describe_source, print, print_json, print_names, print_passed_over};
use crate::clock::Clock;
use crate::delivery::answer::{Answer, Outcome};
use crate::rollout::{Action, WorkloadResult};

/// In the format of `-o`: under `name` the names of those that are, or would be, restarted, and below a table what the
/// answer rests on. What is no data goes to stderr.
pub(super) fn show(format: OutputFormat, answer: &Answer) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => return print_json(answer),
        OutputFormat::Name => {
            let restarted = answer.workloads.iter().filter(|result| result.action() == Action::Restarted);
            print_names(&restarted.map(WorkloadResult::workload).collect::<Vec<_>>())?;
            // Without them nobody could see why a name is missing.
            for left in answer.workloads.iter().filter(|result| result.action() != Action::Restarted) {
                anstream::eprintln!("{}: {}, {}", left.workload(), left.action().as_str(), left.reason);
            }
        }
        OutputFormat::Table if !answer.workloads.is_empty() => print(&answer_table(answer))?,
        OutputFormat::Table => {}
    }
    if let Some(image) = answer.image.as_ref().filter(|_| answer.workloads.is_empty() && !is_unknown(answer)) {
        anstream::eprintln!("no workload runs {image}");
    }
    if let Some(source) = &answer.source {
        if format == OutputFormat::Table {
            anstream::eprintln!("found {}", describe_source(source, Clock::system().now()));
        }
        print_passed_over(source);
    }
    Ok(())
}

/// The exit code, or the sentence on what failed as a whole.
pub(super) fn judge(answer: &Answer) -> anyhow::Result<Answered> {
    if let Some(reason) = answer.reason.as_ref().filter(|_| is_unknown(answer)) {
        anyhow::bail!(reason.clone());
    }
    Ok(match answer.workloads.iter().any(|workload| workload.action() == Action::Failed) {
        true => Answered::Failed,
        false if answer.workloads.is_empty() => Answered::No,
        false => Answered::Yes,
    })
}

/// Whether it is not known who runs the image.
fn is_unknown(answer: &Answer) -> bool {
    answer.outcome == Outcome::Failed && answer.reason.is_some()
}
