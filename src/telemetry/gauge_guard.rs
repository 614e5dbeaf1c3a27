//! A gauge of what is going on now.

use prometheus_client::metrics::gauge::Gauge;

/// Counts one in a gauge until it is dropped, so that a cancelled task is not counted for ever.
#[derive(Debug)]
#[must_use = "it counts only while it is kept"]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    /// Adds one to `gauge`.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
