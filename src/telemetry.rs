//! What the service reports about itself: metrics and logs. It must not know what any of it decides.

pub mod gauge_guard;
pub mod logging;
mod serialized;

pub use gauge_guard::GaugeGuard;
pub use serialized::Serialized;
