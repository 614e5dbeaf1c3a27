//! What a command sets up before it does anything: its runtime, the TLS provider, and how much it logs.

/// For commands: that one tier has no index is normal, and the command reports the result of all tiers.
pub(super) const QUIET: &str = "pushroll=warn,pushroll::cache=error";

/// For the service: a thread for each core.
pub(super) fn workers() -> std::io::Result<tokio::runtime::Runtime> {
    choose_tls_provider();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// For a command that makes a few calls and ends.
pub(super) fn single() -> std::io::Result<tokio::runtime::Runtime> {
    choose_tls_provider();
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// One TLS provider, chosen before anything can ask for one: rustls panics where it finds none or two.
fn choose_tls_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
