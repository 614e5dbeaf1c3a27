//! What the demo shows: numbered steps with times, coloured on a terminal and plain in a pipe.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::cli::output::{print, style, table};
use crate::rollout::Action;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const COMMAND: Style = AnsiColor::Cyan.on_default();

pub(super) struct Screen {
    step: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { step: 0 }
    }

    pub(super) fn title(&mut self, title: &str, line: &str) -> anyhow::Result<()> {
        Ok(print(&format!("{BOLD}{title}{BOLD:#}: {line}\n"))?)
    }

    /// A step, with how long it took where that means anything.
    pub(super) fn step(&mut self, line: &str, took: Option<Duration>) -> anyhow::Result<()> {
        self.step += 1;
        let took = took.map_or_else(String::new, |took| format!(" {DIM}[{}]{DIM:#}", milliseconds(took)));
        Ok(print(&format!("\n{BOLD}{}. {line}{BOLD:#}{took}\n", self.step))?)
    }

    pub(super) fn text(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(print(&format!("   {line}\n"))?)
    }

    pub(super) fn command(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(print(&format!("   {COMMAND}{line}{COMMAND:#}\n"))?)
    }

    pub(super) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> anyhow::Result<()> {
        let rows = rows.into_iter().map(|row| row.map(|cell| coloured(&cell)));
        let indented: String = table(header, rows).lines().map(|line| format!("   {line}\n")).collect();
        Ok(print(&indented)?)
    }
}

/// The words that matter, in the colours that `explain` gives them.
fn coloured(cell: &str) -> String {
    let action = match cell {
        "restarted" | "rolled once" => Action::Restarted,
        "deferred" => Action::Deferred,
        "current" => Action::Current,
        "skipped" => Action::Skipped,
        "failed" => Action::Failed,
        _ => return cell.to_owned(),
    };
    style(action, cell)
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}
