//! The workloads that run an image by a digest alone: no push of a tag restarts them, and the answer says so.

use std::collections::HashSet;

use crate::image::ImageRef;
use crate::index::Index;
use crate::rollout::{Code, WorkloadResult};
use crate::workload::WorkloadRef;

/// Adds them, each once, unless it has a result of its own. `results` stays sorted.
pub(super) fn add(results: &mut Vec<WorkloadResult>, index: &Index, image: &ImageRef) {
    let pinned = index.pinned(image);
    if pinned.is_empty() {
        return;
    }
    let mut seen: HashSet<WorkloadRef> = results.iter().map(WorkloadResult::workload).collect();
    for pinned in pinned {
        if seen.insert(pinned.workload.clone()) {
            let reason = format!("it runs {}: a digest does not move with a tag", pinned.image);
            results.push(WorkloadResult::new(&pinned.workload, Code::PinnedByDigest, reason));
        }
    }
    WorkloadResult::sort(results);
}
