//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::CliError;

/// Becomes true at the first SIGINT or SIGTERM; the second ends the program at once.
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
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            next().await;
            let _ = tell.send(true);
            next().await;
            std::process::exit(1);
        });
        Ok(Self(told))
    }

    /// Waits until the program is to stop.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            // Nobody listens to signals any more, so none comes.
            std::future::pending::<()>().await;
        }
    }
}
