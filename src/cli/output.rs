//! How results are printed: a table for people, JSON for programs, names for pipes.

use std::io::{self, Write as _};

use anstyle::AnsiColor::{self, Cyan, Green, Red, Yellow};
use serde::Serialize;
use tabwriter::TabWriter;

use crate::cache::unseen::describe;
use crate::check::Severity;
use crate::delivery::answer::{Answer, Source};
use crate::delivery::others::Other;
use crate::ending::Ending;
use crate::rollout::Action;
use crate::rollouts::PushState;
use crate::workload::WorkloadRef;

/// `-o`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// Columns, for people
    Table,
    /// The same structure as the HTTP answer
    Json,
    /// One NAMESPACE/KIND/NAME a line
    Name,
}

/// Writes to stdout; a reader that has gone (`| head`) is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    write(anstream::stdout().lock(), text.as_bytes())
}

/// As [`print()`], and as it is: no escape sequence is looked for.
pub(super) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    write(io::stdout().lock(), bytes)
}

fn write(mut stdout: impl io::Write, bytes: &[u8]) -> io::Result<()> {
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&(serde_json::to_string_pretty(value)? + "\n"))?)
}

pub(super) fn print_names<'a>(workloads: impl IntoIterator<Item = &'a WorkloadRef>) -> io::Result<()> {
    print(&workloads.into_iter().map(|workload| format!("{workload}\n")).collect::<String>())
}

/// Rows under a header, columns two spaces apart, as kubectl prints them.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = TabWriter::new(Vec::new()).minwidth(0).padding(2).ansi(true);
    let rows = rows.into_iter().map(|row| row.map(|cell| one_line(&cell)).join("\t") + "\n");
    let text: String = [header.join("\t") + "\n"].into_iter().chain(rows).collect();
    // Writing to memory cannot fail.
    let aligned = table.write_all(text.as_bytes()).ok().and_then(|()| table.into_inner().ok()).unwrap_or_default();
    String::from_utf8_lossy(&aligned).lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// An API server's message may have several lines, and a tab would end the cell.
fn one_line(cell: &str) -> String {
    cell.split(['\t', '\n', '\r']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The workloads of an answer, with what was done and why.
pub(super) fn answer_table(answer: &Answer) -> String {
    table(
        ["NAMESPACE", "KIND", "NAME", "ACTION", "REASON"],
        answer.workloads.iter().map(|workload| {
            let action = style(workload.action(), workload.action().as_str());
            let kind = workload.kind.as_str().to_owned();
            [workload.namespace.to_string(), kind, workload.name.to_string(), action, workload.reason.clone()]
        }),
    )
}

/// What runs an image and is not restarted, with what becomes of it.
pub(super) fn others_table(others: &[Other]) -> String {
    table(
        ["NAMESPACE", "KIND", "NAME", "REASON"],
        others.iter().map(|other| {
            [other.namespace.clone(), other.kind.as_str().to_owned(), other.name.clone(), other.reason.clone()]
        }),
    )
}

/// Colour; taken away where stdout is no terminal.
pub(super) fn style(action: Action, text: &str) -> String {
    coloured(
        match action {
            Action::Restarted => Green,
            Action::Current | Action::Deferred => Cyan,
            Action::Skipped => Yellow,
            Action::Failed => Red,
        },
        text,
    )
}

/// A severity in its colour.
pub(super) fn style_severity(severity: Severity) -> String {
    coloured(
        match severity {
            Severity::Ok => Green,
            Severity::Warning => Yellow,
            Severity::Error => Red,
        },
        &severity.to_string(),
    )
}

/// What became of a push, in its colour.
pub(super) fn style_state(state: PushState) -> String {
    coloured(
        match state {
            PushState::Ended(Ending::Complete) => Green,
            PushState::UnderWay | PushState::Waits => Cyan,
            PushState::Ended(Ending::Superseded | Ending::Unknown) => Yellow,
            PushState::Ended(Ending::Failed | Ending::Gone) => Red,
        },
        state.as_str(),
    )
}

fn coloured(color: AnsiColor, text: &str) -> String {
    let style = color.on_default();
    format!("{style}{text}{style:#}")
}

/// `from the mount, as of 2026-11-20T09:16:40Z (35s ago)`
pub(super) fn describe_source(source: &Source, now: jiff::Timestamp) -> String {
    let tier = source.tier.as_str();
    match source.as_of {
        None => format!("from the {tier}, of unknown age"),
        Some(as_of) => {
            let age = now.duration_since(as_of).as_secs().max(0);
            format!("from the {tier}, as of {as_of} ({age}s ago)")
        }
    }
}

/// Says on stderr which parts of the scope an answer has not seen.
pub(super) fn name_unseen(source: &Source) {
    if !source.unseen_parts.is_empty() {
        anstream::eprintln!("pushroll: {}", describe(&source.unseen_parts));
    }
}

/// For a sentence that no workload runs an image.
pub(super) fn of_those_seen(source: &Source) -> &'static str {
    if source.unseen_parts.is_empty() { "" } else { " that can be seen" }
}

/// Says of each tier that gave no index why not, on stderr.
pub(super) fn print_passed_over(source: &Source) {
    for failed in &source.failed_tiers {
        anstream::eprintln!("the {} was passed over: {}", failed.tier.as_str(), failed.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_takes_no_width_and_a_cell_stays_on_its_line() {
        let red = style(Action::Failed, "failed");
        let rows =
            [[red.clone(), "one\n\ttwo".to_owned(), String::new()], ["x".to_owned(), "y".to_owned(), "z".to_owned()]];
        let expected = format!("A       B        C\n{red}  one two\nx       y        z\n");
        assert_eq!(table(["A", "B", "C"], rows), expected);
    }
}
