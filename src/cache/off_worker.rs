//! Work that computes for long, away from the threads that answer pushes: a document of a full ConfigMap takes tens of
//! milliseconds to compress, and as long as all workers do that, nobody is answered.
//!
//! It must not know what the work is.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` where it is. Of a runtime with several threads, another takes over what waits for this one.
pub(super) fn off_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // A command's runtime of one thread has nobody else to answer.
        _ => work(),
    }
}
