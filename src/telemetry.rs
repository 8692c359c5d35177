//! Logs: to standard error, chosen by the environment variable `WEIR_LOG`.

use std::io;

use tracing_subscriber::EnvFilter;

/// Starts logging; without `WEIR_LOG` warnings and errors are shown. A second call does nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging is set up already");
    }
}
