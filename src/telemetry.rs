//! What the service tells of itself: metrics and logs. It must not know what any of it decides.

pub mod logging;
pub mod metrics;

pub use metrics::Metrics;
