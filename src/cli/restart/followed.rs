//! The rollouts of restarts by hand, followed to their end.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

use crate::cli::cluster_commands::CONCURRENCY;
use crate::cluster::Cluster;
use crate::delivery::answer::Answer;
use crate::ending::Ending;
use crate::following::{Rollout, wait};
use crate::workload::WorkloadRef;

/// Follows every rollout that was started to its end, and prints each end as it comes.
pub(super) async fn follow_all(cluster: &Cluster, answers: &[Answer], timeout: Duration) -> Vec<Rollout> {
    let deadline = Instant::now() + timeout;
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let mut following = Following::default();
    for restarted in answers.iter().flat_map(Answer::restarted) {
        let (cluster, permits, workload) = (cluster.clone(), Arc::clone(&permits), restarted.workload());
        let restarted_at = restarted.restarted_at.clone();
        following.add(restarted.workload(), async move {
            wait(&cluster, &workload, restarted_at.as_deref(), &permits, deadline).await
        });
    }
    following.ended().await
}

/// The rollouts that are being followed, and the workload of each task: a task that panics gets an ending too.
#[derive(Default)]
struct Following {
    tasks: JoinSet<Rollout>,
    workloads: HashMap<Id, WorkloadRef>,
}

impl Following {
    fn add(&mut self, workload: WorkloadRef, following: impl Future<Output = Rollout> + Send + 'static) {
        let id = self.tasks.spawn(following).id();
        self.workloads.insert(id, workload);
    }

    async fn ended(mut self) -> Vec<Rollout> {
        let mut rollouts = Vec::new();
        while let Some(followed) = self.tasks.join_next_with_id().await {
            let rollout = match followed {
                Ok((_, rollout)) => rollout,
                Err(panicked) => {
                    let Some(workload) = self.workloads.remove(&panicked.id()) else { continue };
                    let reason = format!("how its rollout ended is not known (a bug of pushroll): {panicked}");
                    Rollout { workload, ending: Ending::Unknown, reason }
                }
            };
            anstream::eprintln!("{}: {}", rollout.workload, rollout.reason);
            rollouts.push(rollout);
        }
        rollouts.sort_by(|a, b| a.workload.cmp(&b.workload));
        rollouts
    }
}
