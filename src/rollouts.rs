//! What became of the last push of each image of each workload. It is read from the workloads and from what waits, so
//! each replica and the command line say the same.
//!
//! ```text
//! look        LISTs the workloads, and pods where that shows more
//!   seen        pure: the workloads that have a push of ours, as they were seen
//!     last_push   pure: one workload to its pushes
//! ```

mod last_push;
mod look;
mod seen;

pub use last_push::{LastPush, PodsReady, PushState, Waits};
pub use look::Look;
pub use seen::{Rollouts, Seen};
