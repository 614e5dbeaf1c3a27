//! The deadline of a task that calls the API server, and what the task waits for.
//!
//! A push is answered at its deadline, whatever its calls are doing. The calls of the task know that deadline. A call
//! that would have to wait longer than that for the API server is given up at once, with the reason. When the deadline
//! passes, the error says whether the task was waiting for a permit or for a pause.

use std::cell::Cell;
use std::future::Future;
use std::time::Instant;

/// The deadline has passed. The text says what the task was waiting for, where that is known.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no time was left for it{}", .0.describe())]
pub struct OutOfTime(WaitsFor);

/// What a call waits for before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Nothing: a call is being made, or the task is between two calls.
    Nothing,
    /// One of this many permits.
    Permit(usize),
    /// The end of a pause that the API server has asked for.
    Pause,
    /// The end of a write, which goes on without the task.
    Write,
}

struct CallDeadline {
    at: Instant,
    waits_for: Cell<WaitsFor>,
}

tokio::task_local! {
    static CALL_DEADLINE: CallDeadline;
}

/// Runs `work` until `deadline` at most. Its calls to the API server know the deadline; calls of tasks that it spawns
/// do not.
///
/// # Errors
/// It did not end in time.
pub async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, OutOfTime> {
    let call_deadline = CallDeadline { at: deadline, waits_for: Cell::new(WaitsFor::Nothing) };
    CALL_DEADLINE
        .scope(call_deadline, async {
            let done = tokio::time::timeout_at(deadline.into(), work).await;
            done.map_err(|_| OutOfTime(CALL_DEADLINE.with(|deadline| deadline.waits_for.get())))
        })
        .await
}

/// Runs `work` in half of the time that this task's calls have left; without a deadline, to its end.
///
/// # Errors
/// It did not end in time.
pub async fn within_half_of_the_time<T>(work: impl Future<Output = T>) -> Result<T, OutOfTime> {
    let now = Instant::now();
    match deadline() {
        Some(deadline) => within(now + deadline.saturating_duration_since(now) / 2, work).await,
        None => Ok(work.await),
    }
}

/// The deadline of this task's calls, if it has one.
pub(super) fn deadline() -> Option<Instant> {
    CALL_DEADLINE.try_with(|deadline| deadline.at).ok()
}

/// Waits for one of `concurrency` permits of the caller's own. A task whose deadline passes meanwhile says so.
pub async fn wait_for_permit<T>(concurrency: usize, permit: impl Future<Output = T>) -> T {
    waiting_for(WaitsFor::Permit(concurrency), permit).await
}

/// Notes what the task waits for, until `wait` is over.
pub(super) async fn waiting_for<T>(what: WaitsFor, wait: impl Future<Output = T>) -> T {
    note(what);
    let over = wait.await;
    note(WaitsFor::Nothing);
    over
}

fn note(what: WaitsFor) {
    // A task without a deadline needs no note.
    let _ = CALL_DEADLINE.try_with(|deadline| deadline.waits_for.set(what));
}

impl WaitsFor {
    fn describe(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Permit(concurrency) => format!(
                ": it waited for its turn, since the API server sees at most {concurrency} calls at once (--concurrency)"
            ),
            Self::Write => {
                ": the API server, or an admission webhook of it, was still at work on the write, which goes on"
                    .to_owned()
            }
            Self::Pause => ": it waited for the time that the API server has asked to be left alone for".to_owned(),
        }
    }
}
