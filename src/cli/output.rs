//! How results are printed: a table for people, JSON for programs, names for pipes.

use std::io;

use anstyle::AnsiColor::{self, Cyan, Green, Red, Yellow};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::check::Severity;
use crate::delivery::answer::{Answer, Source};
use crate::rollout::Action;
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
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
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

/// As [`style`].
pub(super) fn style_severity(severity: Severity, text: &str) -> String {
    coloured(
        match severity {
            Severity::Ok => Green,
            Severity::Warning => Yellow,
            Severity::Error => Red,
        },
        text,
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
