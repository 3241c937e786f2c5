//! Logs, on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::ui;

/// Logs what `RUST_LOG` says, else what `-v` and `-q` say.
pub(crate) fn start(verbose: u8, quiet: bool) {
    let by_flags = match (quiet, verbose) {
        (true, _) => "error,krafka=off",
        (false, 0) => "warn,krafka=error",
        (false, 1) => "info,krafka=warn",
        (false, _) => "debug,krafka=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(by_flags));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(ui::colours())
        .init();
}
