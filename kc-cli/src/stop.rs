//! Signals that stop the program.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::CliError;

/// Becomes true at the first SIGINT, SIGTERM or SIGHUP; the second ends the program at once. A SIGHUP that is ignored,
/// as under `nohup`, stays so.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn on_signals() -> Result<Self, CliError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| CliError::failure(format!("cannot listen to signals: {error}")))
        };
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = match hangup_is_ignored() {
            true => None,
            false => Some(listen(SignalKind::hangup())?),
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    Some(_) = async { hangup.as_mut()?.recv().await } => {}
                }
            };
            next().await;
            let _ = stop.send(true);
            next().await;
            std::process::exit(1);
        });
        Ok(Self(stopped))
    }

    /// Waits until the program is to stop.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            // The task that listens to signals has ended, so none comes.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns whether the program was started to outlive the terminal; only Linux can tell.
fn hangup_is_ignored() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
