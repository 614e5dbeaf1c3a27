//! Medians and the like, and how a ratio is printed.

use std::time::{Duration, Instant};

/// The value below which `share` of the sorted values lie.
pub fn quantile<T: Copy + Ord>(values: &mut [T], share: f64) -> T {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * share).round() as usize]
}

pub fn median<T: Copy + Ord>(values: &mut [T]) -> T {
    quantile(values, 0.5)
}

pub fn took(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// `  median of 5: 1.42 (1.38 to 1.51); target: at most 1.5`
pub fn print_ratios(of: &str, ratios: &[f64], target: &str) {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, middle, high) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    println!("  {of}: median of {} runs {middle:.2} ({low:.2} to {high:.2}); target: {target}", sorted.len());
}
