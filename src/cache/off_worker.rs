//! Long computations, away from the threads that answer pushes. To compress the document of a full ConfigMap takes tens
//! of milliseconds; while all worker threads do such work, no push is answered.
//!
//! It must not know what the work is.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` on this thread; in a runtime of several threads, another thread takes over its other tasks.
pub(super) fn off_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // The runtime of a command has one thread, and nothing else to do.
        _ => work(),
    }
}
