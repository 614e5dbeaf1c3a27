//! `pushroll rollouts --watch`: looks again until all have ended. On a terminal it shows how far each is; elsewhere it
//! prints each end as it comes.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::cluster::ApiError;
use crate::rollouts::{LastPush, Look, Seen};
use crate::workload::WorkloadRef;

/// Between two looks: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The terminal shows at most so many rollouts at once.
const LINES: usize = 15;

/// Looks until all have ended, at most for `timeout`. Returns what was seen last, and whether that is all of it.
pub(super) async fn follow(look: Look<'_>, first: Seen, timeout: Duration) -> anyhow::Result<(Seen, bool)> {
    let deadline = Instant::now() + timeout;
    let mut screen = Screen { is_terminal: io::stderr().is_terminal(), lines: 0 };
    let (mut seen, mut pushes) = (first, Vec::new());
    let (mut pause, mut is_whole, mut error) = (PAUSE.0, true, None);
    pushes.clone_from(&seen.rollouts().rollouts);
    while pushes.iter().any(|push| !push.state.has_ended()) {
        screen.show(&pushes, error.as_ref())?;
        let next = Instant::now() + pause;
        tokio::time::sleep_until(next.min(deadline).into()).await;
        let Ok(looked) = tokio::time::timeout_at(deadline.into(), look.again(&seen)).await else {
            screen.clear()?;
            let last = error.map(|error: ApiError| format!(": {error}")).unwrap_or_default();
            anstream::eprintln!("not all rollouts have ended within {timeout:?}{last}");
            return Ok((seen, false));
        };
        match looked {
            Ok(newer) => {
                let now = newer.rollouts().rollouts;
                pause = if now == pushes { (pause * 3 / 2).min(PAUSE.1) } else { PAUSE.0 };
                screen.clear()?;
                print_ended(&pushes, &now);
                is_whole &= !print_vanished(&pushes, &now);
                (seen, pushes, error) = (newer, now, None);
            }
            Err(refused @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => {
                screen.clear()?;
                return Err(refused.into());
            }
            // The rollouts go on, and the next look may succeed.
            Err(failed) => error = Some(failed),
        }
    }
    screen.clear()?;
    Ok((seen, is_whole))
}

fn print_ended(before: &[LastPush], now: &[LastPush]) {
    for push in now.iter().filter(|push| push.state.has_ended()) {
        let is_known = before
            .iter()
            .any(|known| (&known.workload, &known.push, known.state) == (&push.workload, &push.push, push.state));
        if !is_known {
            let LastPush { workload, push, state, reason, .. } = push;
            anstream::eprintln!("{workload}: {}: {}: {reason}", push.image, state.as_str());
        }
    }
}

/// Says which workloads have no push any more. Returns whether there is one.
fn print_vanished(before: &[LastPush], now: &[LastPush]) -> bool {
    let workloads = |pushes: &[LastPush]| pushes.iter().map(|push| push.workload.clone()).collect::<BTreeSet<_>>();
    let vanished: Vec<WorkloadRef> = workloads(before).difference(&workloads(now)).cloned().collect();
    for workload in &vanished {
        anstream::eprintln!("{workload}: it has no push any more: somebody changed it, or the push waits no longer");
    }
    !vanished.is_empty()
}

/// What the terminal shows now, below what was printed.
struct Screen {
    is_terminal: bool,
    lines: usize,
}

impl Screen {
    fn show(&mut self, pushes: &[LastPush], error: Option<&ApiError>) -> io::Result<()> {
        if !self.is_terminal {
            return Ok(());
        }
        self.clear()?;
        let open: Vec<_> = pushes.iter().filter(|push| !push.state.has_ended()).collect();
        let mut lines: Vec<String> = open.iter().take(LINES).map(|push| line(push)).collect();
        if open.len() > LINES {
            lines.push(format!("and {} more", open.len() - LINES));
        }
        lines.extend(error.map(|error| format!("the last look failed: {error}")));
        self.lines = lines.len();
        // A line that the terminal wraps would be more than one.
        write!(io::stderr(), "\x1b[?7l{}\n\x1b[?7h", lines.join("\n"))
    }

    fn clear(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.lines) {
            0 => Ok(()),
            lines => write!(io::stderr(), "\x1b[{lines}F\x1b[J"),
        }
    }
}

fn line(push: &LastPush) -> String {
    let pods = push.pods.map(|pods| format!("{} of {} pods are ready; ", pods.ready, pods.wanted)).unwrap_or_default();
    let reason = push.reason.replace(['\n', '\r', '\t', '\x1b'], " ");
    format!("{}  {}  {}  {pods}{reason}", push.workload, push.push.image, push.state.as_str())
}
