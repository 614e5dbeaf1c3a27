//! The looks at very many workloads: which of them need one, and a LIST in place of many GETs.

use std::collections::HashSet;
use std::time::Instant;

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::cause::Cause;
use super::context::RestartContext;
use super::decision::{Decision, Known};
use super::listings::worth_listing;
use super::mode::Mode;
use super::workload_result::WorkloadResult;
use crate::cluster::{self, WorkloadObject};
use crate::index::{Index, Scope};
use crate::workload::WorkloadRef;

/// Up to so many workloads are looked at one by one.
pub(super) const MANY: usize = 100;
/// After so many decisions other tasks have their turn.
const DECISIONS: usize = 32;

/// Workloads, by what is known of them without a call to the API server.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    /// Our record on the watched object says that the push, or a newer one, is done.
    pub(super) recorded: Vec<WorkloadResult>,
    /// To be restarted as the watched object is; or out of scope.
    pub(super) need_no_look: Vec<&'a WorkloadRef>,
    /// A fresh look decides.
    pub(super) need_look: Vec<&'a WorkloadRef>,
}

/// Sorts workloads by what the watch shows of them.
pub(super) async fn sort<'a>(
    context: &RestartContext,
    workloads: &[&'a WorkloadRef],
    cause: &Cause,
    mode: Mode,
) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for (n, workload) in workloads.iter().enumerate() {
        if n % DECISIONS == DECISIONS - 1 {
            tokio::task::yield_now().await;
        }
        if context.policy.refuses_namespace(workload).is_some() {
            sorted.need_no_look.push(workload);
            continue;
        }
        let watched = context.cluster.watched().get(workload).filter(|_| mode == Mode::Apply);
        match watched.map(|object| cause.decide(workload, &object, Known::default(), context)) {
            Some(Decision::Leave(leave)) if leave.code.is_of_record() => sorted.recorded.push(leave.result(workload)),
            Some(Decision::Restart(_)) => sorted.need_no_look.push(workload),
            _ => sorted.need_look.push(workload),
        }
    }
    sorted
}

/// Looks at workloads by a consistent LIST of each collection where that is cheaper. Calls `begin` with each that a LIST
/// shows, page by page, and returns the others: they need a look of their own.
///
/// The LISTs have half of the time until `deadline`. Where they take longer, GETs have the other half, so that an API
/// server whose LISTs hang does not keep a push from getting further.
pub(super) async fn list_each<'a>(
    context: &RestartContext,
    workloads: Vec<&'a WorkloadRef>,
    index: &Index,
    deadline: Instant,
    begin: impl FnMut(&WorkloadRef, WorkloadObject) + Send,
) -> Vec<&'a WorkloadRef> {
    let in_all_namespaces = context.policy.scope == Scope::AllNamespaces;
    let collections = worth_listing(&workloads, &index.collections(), in_all_namespaces);
    let open: HashSet<&WorkloadRef> = workloads.iter().copied().collect();
    let progress = Mutex::new((open, begin));
    let lists = collections.iter().map(|collection| async {
        let listed = context.cluster.list_workloads(collection.kind, collection.namespace, |workload, object| {
            let (open, begin) = &mut *progress.lock();
            if open.remove(&workload) {
                begin(&workload, object);
            }
        });
        if let Err(error) = listed.await {
            let (kind, namespace) = (collection.kind.plural(), collection.namespace.unwrap_or("all namespaces"));
            tracing::debug!(kind, namespace, "a LIST in place of many GETs has failed: {error}");
        }
    });
    let now = Instant::now();
    let half = now + deadline.saturating_duration_since(now) / 2;
    if cluster::within(half, join_all(lists)).await.is_err() {
        tracing::debug!("a LIST in place of many GETs has taken too long");
    }
    let (open, _) = progress.into_inner();
    workloads.into_iter().filter(|workload| open.contains(workload)).collect()
}
