//! Programs in processes of their own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

/// The maximum time that a program takes until it prints another line, or until it ends.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running program; killed when dropped.
pub(super) struct Process {
    child: Child,
    lines: Receiver<String>,
    name: String,
}

impl Process {
    /// Starts a program. Messages call it `name`.
    pub(super) fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().context("a process without output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Nobody waits for the lines of a process that was ended.
            let _ = lines.map(|line| sender.send(line)).find(Result::is_err);
        });
        Ok(Self {
            child,
            lines,
            name: name.to_owned(),
        })
    }

    /// Writes the whole standard input of the process.
    pub(super) fn write_input(&mut self, input: &str) -> anyhow::Result<()> {
        let mut stdin = self.child.stdin.take().context("the input is closed")?;
        let written = stdin.write_all(input.as_bytes());
        written.with_context(|| format!("write to {}", self.name))
    }

    /// Returns the next printed line.
    pub(super) fn line(&self) -> anyhow::Result<String> {
        self.lines.recv_timeout(PATIENCE).map_err(|error| {
            let why = match error {
                RecvTimeoutError::Timeout => "printed nothing for too long",
                RecvTimeoutError::Disconnected => "ended",
            };
            anyhow!("{} {why}", self.name)
        })
    }

    /// Closes the input, and waits until the process ends by itself. Fails if the process fails.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.wait()?;
        ensure!(status.success(), "{}: {status}", self.name);
        Ok(())
    }

    /// Sends a signal to the process, and waits until it ends. Fails if the process has ended before.
    pub(super) fn end_by(mut self, signal: &str) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended before: {status}", self.name);
        }
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, &self.child.id().to_string()]);
        crate::shell::run(&mut kill)?;
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not end", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
