use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::KafkaError;
use super::watchdog::Watchdog;

/// The time that a process has to end after SIGTERM.
const STOP: Duration = Duration::from_secs(20);
/// The time between two looks at a process.
const LOOK: Duration = Duration::from_millis(50);

/// A process that is killed when dropped, unless detached.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The watchdog; `None` after the process is detached.
    watchdog: Option<Watchdog>,
}

impl Process {
    /// Starts a process in a process group of its own, so that Ctrl-C does not reach it.
    pub(super) fn start(
        mut command: Command,
        log: &Path,
        temporary: Option<&Path>,
    ) -> Result<Self, KafkaError> {
        let out = File::options().create(true).append(true).open(log);
        let out = out.map_err(KafkaError::file(log))?;
        let err = out.try_clone().map_err(KafkaError::file(log))?;
        let child = command.stdout(out).stderr(err).process_group(0).spawn();
        let mut process = Self {
            child: child.map_err(KafkaError::program("java"))?,
            watchdog: None,
        };
        match Watchdog::over(process.child.id(), temporary) {
            Ok(watchdog) => {
                process.watchdog = Some(watchdog);
                Ok(process)
            }
            Err(error) => {
                process.kill();
                Err(error)
            }
        }
    }

    /// Returns the exit status, if the process has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, KafkaError> {
        self.child.try_wait().map_err(KafkaError::Process)
    }

    /// Sends SIGTERM, and kills the process if it does not end.
    pub(super) fn stop(mut self) -> Result<(), KafkaError> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|error| KafkaError::Process(error.into()))?;
        let deadline = Instant::now() + STOP;
        while self.ended()?.is_none() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Lets the process continue when this one ends. Returns its id.
    pub(super) fn detach(mut self) -> u32 {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        self.child.id()
    }

    fn kill(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog ends first: it must not run when another process can have this id.
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
            self.kill();
        }
    }
}
