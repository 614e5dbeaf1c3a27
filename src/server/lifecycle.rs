//! The service from its start to its end.
//!
//! ```text
//! Serving ──SIGTERM──► Leaving ──delay over──► Draining ──entrances have ended──► Ended
//!    └──────SIGINT───────────────────────────────►┘
//! each of them ──a task has ended that must not end yet──► Ended, with an error
//! ```
//!
//! A task is an entrance, which brings work in (a listener that takes pushes), or works in the background for as long
//! as there are entrances. This file must not know what any task does.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How the service is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Others still send requests here, and need `--drain-delay` to notice that they should not.
    AfterDelay,
    /// Nobody else sends requests here.
    AtOnce,
}

/// A task of the service has ended that must not end.
#[derive(Debug, thiserror::Error)]
#[error("the {task} ended unexpectedly: {reason}")]
pub struct ServeError {
    task: &'static str,
    reason: String,
}

/// What the service is doing.
#[derive(Debug)]
enum Stage {
    /// Requests are taken, and the service is ready unless something is missing.
    Serving,
    /// The service is not ready, and requests are still taken for so long.
    Leaving { delay: Duration },
    /// The entrances take nothing new and finish what they have.
    Draining,
    /// The entrances have ended, or a task has failed: all other tasks end, too.
    Ended(Result<(), ServeError>),
}

/// When a task may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// From [`Stage::Draining`] on.
    Entrance,
    /// In [`Stage::Ended`].
    Background,
}

/// The tasks of the service, and how they end.
#[derive(Debug)]
pub(super) struct Lifecycle {
    draining: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    running: HashMap<task::Id, (&'static str, Role)>,
    end_of_entrances: CancellationToken,
    end_of_background: CancellationToken,
}

/// A task that has ended.
#[derive(Debug)]
struct Ended {
    task: &'static str,
    role: Role,
    result: Result<(), JoinError>,
}

impl Lifecycle {
    /// Sets `draining` when the service is asked to end.
    pub(super) fn new(draining: Arc<AtomicBool>) -> Self {
        Self {
            draining,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            end_of_entrances: CancellationToken::new(),
            end_of_background: CancellationToken::new(),
        }
    }

    /// Starts a task that brings work in. When its token is cancelled it takes nothing new, finishes what it has, and
    /// ends.
    pub(super) fn entrance<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = self.tasks.spawn(task(self.end_of_entrances.clone()));
        self.running.insert(running.id(), (name, Role::Entrance));
    }

    /// Starts a task that the entrances rest on. Its token is cancelled when they have ended.
    pub(super) fn background<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = self.tasks.spawn(task(self.end_of_background.clone()));
        self.running.insert(running.id(), (name, Role::Background));
    }

    /// Runs the tasks until `shutdown` and to their end.
    ///
    /// # Errors
    /// A task has ended that must not end.
    pub(super) async fn run(
        mut self,
        drain_delay: Duration,
        shutdown: impl Future<Output = Shutdown>,
    ) -> Result<(), ServeError> {
        let mut shutdown = pin!(shutdown);
        let mut stage = Stage::Serving;
        let result = loop {
            stage = match stage {
                Stage::Serving => self.serve(drain_delay, shutdown.as_mut()).await,
                Stage::Leaving { delay } => self.leave(delay).await,
                Stage::Draining => self.drain().await,
                Stage::Ended(result) => break result,
            }
        };
        self.end().await;
        result
    }

    async fn serve(&mut self, drain_delay: Duration, shutdown: Pin<&mut impl Future<Output = Shutdown>>) -> Stage {
        tokio::select! {
            shutdown = shutdown => {
                self.draining.store(true, Ordering::Relaxed);
                let delay = match shutdown {
                    Shutdown::AfterDelay => drain_delay,
                    Shutdown::AtOnce => Duration::ZERO,
                };
                if delay.is_zero() {
                    return Stage::Draining;
                }
                tracing::info!("not ready: requests are taken for another {delay:?}, so that others stop sending them");
                Stage::Leaving { delay }
            }
            ended = self.next_ended() => ended.unexpected(),
        }
    }

    async fn leave(&mut self, delay: Duration) -> Stage {
        tokio::select! {
            () = tokio::time::sleep(delay) => Stage::Draining,
            ended = self.next_ended() => ended.unexpected(),
        }
    }

    async fn drain(&mut self) -> Stage {
        tracing::info!("draining: no new requests, those in flight are finished");
        self.end_of_entrances.cancel();
        while self.running.values().any(|(_, role)| *role == Role::Entrance) {
            let ended = self.next_ended().await;
            if ended.role != Role::Entrance || ended.result.is_err() {
                return ended.unexpected();
            }
        }
        Stage::Ended(Ok(()))
    }

    /// After an error this comes at any stage: entrances still finish what they have.
    async fn end(&mut self) {
        self.draining.store(true, Ordering::Relaxed);
        self.end_of_entrances.cancel();
        self.end_of_background.cancel();
        while self.tasks.join_next().await.is_some() {}
        tracing::info!("stopped");
    }

    async fn next_ended(&mut self) -> Ended {
        let (id, result) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, Ok(())),
            Some(Err(error)) => (error.id(), Err(error)),
            // Without a task there is nothing that could end.
            None => std::future::pending().await,
        };
        let (task, role) = self.running.remove(&id).unwrap_or(("service", Role::Background));
        Ended { task, role, result }
    }
}

impl Ended {
    fn unexpected(self) -> Stage {
        let reason = self.result.map_or_else(|error| error.to_string(), |()| "it returned".to_owned());
        Stage::Ended(Err(ServeError { task: self.task, reason }))
    }
}
