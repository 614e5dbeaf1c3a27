//! An answer about workloads on the command line: how it is shown, and which exit code it is.

use super::Answered;
use super::output::{
    OutputFormat, answer_table, describe_source, name_unseen, of_those_seen, others_table, print, print_json,
    print_names, print_passed_over,
};
use crate::clock::Clock;
use crate::delivery::answer::{Answer, Outcome};
use crate::rollout::{Action, WorkloadResult};

/// In the format of `-o`: under `name` the names of the workloads that are, or would be, restarted, and below a table
/// what the answer rests on. What is no data goes to stderr.
pub(super) fn show(format: OutputFormat, answer: &Answer) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => return print_json(answer),
        OutputFormat::Name => {
            print_names(&answer.restarted().map(WorkloadResult::workload).collect::<Vec<_>>())?;
            // Without them nobody could see why a name is missing.
            for left in answer.workloads.iter().filter(|result| result.action() != Action::Restarted) {
                anstream::eprintln!("{}: {}, {}", left.workload(), left.action().as_str(), left.reason);
            }
        }
        OutputFormat::Table if !answer.workloads.is_empty() => print(&answer_table(answer))?,
        OutputFormat::Table => {}
    }
    if let Some(image) = answer.image.as_ref().filter(|_| answer.workloads.is_empty() && !is_unknown(answer)) {
        let of_those_seen = answer.source.as_ref().map_or("", of_those_seen);
        anstream::eprintln!("no workload{of_those_seen}{} runs {image}", by_what(answer));
    }
    let others = answer.others.as_deref().unwrap_or_default();
    if format == OutputFormat::Table && !others.is_empty() {
        print(&(String::from("\nNot restarted by a push:\n") + &others_table(others)))?;
    }
    for unseen in &answer.others_unseen {
        let place = unseen.namespace.as_ref().map(|namespace| format!(" of {namespace}")).unwrap_or_default();
        anstream::eprintln!("the {}s{place} were not looked at: {}", unseen.kind.as_str(), unseen.reason);
    }
    if let Some(source) = &answer.source {
        if format == OutputFormat::Table {
            anstream::eprintln!("found {}", describe_source(source, Clock::system().now()));
        }
        print_passed_over(source);
    }
    Ok(())
}

/// The exit code, or the sentence on what failed as a whole. Says on stderr what could not be seen.
pub(super) fn judge(answer: &Answer) -> anyhow::Result<Answered> {
    answer.source.iter().for_each(name_unseen);
    if let Some(reason) = answer.reason.as_ref().filter(|_| is_unknown(answer)) {
        anyhow::bail!(reason.clone());
    }
    Ok(match answer.workloads.iter().any(|workload| workload.action() == Action::Failed) {
        true => Answered::Failed,
        false if answer.workloads.is_empty() && answer.others.as_ref().is_none_or(Vec::is_empty) => Answered::No,
        false => Answered::Yes,
    })
}

/// What is meant by a workload, where something else does run the image.
fn by_what(answer: &Answer) -> &'static str {
    match answer.others.as_deref() {
        None | Some([]) => "",
        Some(_) => " that a push restarts",
    }
}

/// Whether it is not known who runs the image.
fn is_unknown(answer: &Answer) -> bool {
    answer.outcome == Outcome::Failed && answer.reason.is_some()
}
