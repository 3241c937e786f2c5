//! Logs, on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::ui;

/// Logs what `RUST_LOG` says, else what `-v` and `-q` say. Kafka clients log each attempt that fails, and
/// cryptoki each mechanism that it does not know; what comes of them we say ourselves. That anybody can read and delete
/// what a broker has is said whatever the flags.
pub(crate) fn start(verbose: u8, quiet: bool) {
    let by_flags = match (quiet, verbose) {
        (true, _) => {
            "error,kc_broker::exposed=warn,cryptoki=off,krafka=off,librdkafka=off,kafka=off"
        }
        (false, 0) => "warn,cryptoki=off,krafka=off,librdkafka=off,kafka=off",
        (false, 1) => "info,cryptoki=off,krafka=warn,librdkafka=warn,kafka=warn",
        (false, _) => "debug,cryptoki=off,krafka=info,librdkafka=info,kafka=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(by_flags));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(ui::colours())
        .init();
}
