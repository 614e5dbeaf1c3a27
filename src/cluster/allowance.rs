//! How long a task may go on calling the API server, and what it waits for meanwhile.
//!
//! A push is answered at its deadline whatever its calls are at. With the deadline known down here, a call that the
//! API server wants later than that is given up at once, with the reason; and one that runs out of time can say
//! whether it was waiting for its turn.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// No time was left. As text it says for what, where that is known.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no time was left for it{}", .0.told())]
pub struct OutOfTime(WaitsFor);

/// What a call waits for before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Nothing: it has begun, or it is between two calls.
    Nothing,
    /// One of so many places.
    Place(usize),
    /// The time that the API server has asked to be left alone for.
    Pause,
}

struct Allowance {
    deadline: Instant,
    /// [`WaitsFor`] as a number: a place is that of all places, which are never so many.
    waits_for: AtomicUsize,
}

const NOTHING: usize = 0;
const PAUSE: usize = usize::MAX;

tokio::task_local! {
    static ALLOWANCE: Allowance;
}

/// Lets `work` go on until `deadline`; its calls to the API server know of that, those of tasks that it spawns do not.
///
/// # Errors
/// It did not end in time.
pub async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, OutOfTime> {
    let allowance = Allowance { deadline, waits_for: AtomicUsize::new(NOTHING) };
    ALLOWANCE
        .scope(allowance, async {
            let done = tokio::time::timeout_at(deadline.into(), work).await;
            done.map_err(|_| {
                OutOfTime(ALLOWANCE.with(|allowance| match allowance.waits_for.load(Ordering::Relaxed) {
                    NOTHING => WaitsFor::Nothing,
                    PAUSE => WaitsFor::Pause,
                    concurrency => WaitsFor::Place(concurrency),
                }))
            })
        })
        .await
}

/// Until when this task may call the API server, where that is said.
pub(super) fn deadline() -> Option<Instant> {
    ALLOWANCE.try_with(|allowance| allowance.deadline).ok()
}

/// Waits for one of `concurrency` turns to do something that takes calls; whoever runs out of time meanwhile says so.
pub async fn in_line<T>(concurrency: usize, turn: impl Future<Output = T>) -> T {
    waiting_for(WaitsFor::Place(concurrency), turn).await
}

/// Notes what is waited for until `wait` is over.
pub(super) async fn waiting_for<T>(what: WaitsFor, wait: impl Future<Output = T>) -> T {
    note(what);
    let over = wait.await;
    note(WaitsFor::Nothing);
    over
}

fn note(what: WaitsFor) {
    let number = match what {
        WaitsFor::Nothing => NOTHING,
        WaitsFor::Pause => PAUSE,
        WaitsFor::Place(concurrency) => concurrency,
    };
    // A task without an allowance has nobody to tell.
    let _ = ALLOWANCE.try_with(|allowance| allowance.waits_for.store(number, Ordering::Relaxed));
}

impl WaitsFor {
    fn told(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Place(concurrency) => format!(
                ": it waited for its turn, since the API server sees at most {concurrency} calls at once (--concurrency)"
            ),
            Self::Pause => ": it waited for the time that the API server has asked to be left alone for".to_owned(),
        }
    }
}
