use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use thiserror::Error;

/// The reason why no Kafka runs.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// The version is not supported.
    #[error("Kafka {0:?} is not supported; 4 and 3.9 are")]
    UnknownVersion(String),
    /// A program is missing or cannot be run.
    #[error("cannot run `{program}`: {source}")]
    Program {
        /// The name of the program.
        program: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A jar is missing, or has an unexpected digest.
    #[error("{0} is missing or does not have the expected SHA-256")]
    UnknownJar(
        /// The name of the jar.
        String,
    ),
    /// Maven could not fetch the jars.
    #[error("mvn could not fetch the jars of Kafka:\n{0}")]
    Jars(
        /// The end of Maven's output.
        String,
    ),
    /// The certificates could not be made.
    #[error("cannot make certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// The client's key could not be encrypted.
    #[error("cannot encrypt the key of the client: {0}")]
    KeyEncryption(#[from] pkcs8::Error),
    /// The folder for the data could not be prepared.
    #[error("cannot format the storage:\n{0}")]
    Format(
        /// The end of the output of Kafka's tool.
        String,
    ),
    /// Another program listens on a requested port, or on every port that was tried.
    #[error("ports taken: {first} or one of the {} after it", super::listeners::COUNT - 1)]
    PortsTaken {
        /// The first of the ports.
        first: u16,
    },
    /// Kafka ended before it served.
    #[error("Kafka ended ({status}) before it served:\n{log}")]
    Ended {
        /// The exit status.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// Kafka runs but did not serve in time.
    #[error("Kafka did not serve within {seconds} s:\n{log}")]
    NotServing {
        /// The time limit, in seconds.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// The process could not be stopped, or waited for.
    #[error("the process of Kafka: {0}")]
    Process(io::Error),
}

impl KafkaError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    pub(super) fn program(program: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Program { program, source }
    }
}

/// Returns the last lines of a log that may explain a failure: neither information nor stack traces, unless there is
/// nothing else.
pub(super) fn tail(log: &str) -> String {
    const LINES: usize = 30;
    let is_telling =
        |line: &&str| !line.starts_with(char::is_whitespace) && !line.contains(" INFO ");
    let mut lines: Vec<&str> = log.lines().filter(is_telling).collect();
    if lines.is_empty() {
        lines = log.lines().collect();
    }
    let skipped = lines.len().saturating_sub(LINES);
    lines.split_off(skipped).join("\n")
}

/// Returns the output of a program.
pub(super) fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|out| String::from_utf8_lossy(out))
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_is_the_last_lines() {
        assert_eq!(tail(""), "");
        assert_eq!(tail("one\ntwo\n"), "one\ntwo");
        let log: String = (1..=40).map(|line| format!("{line}\n")).collect();
        let tail = tail(&log);
        assert!(
            tail.starts_with("11\n12\n") && tail.ends_with("\n40"),
            "{tail}"
        );
    }

    #[test]
    fn tail_is_what_tells() {
        let log = "18:40 INFO values:\n\ta = b\n (Config)\n18:41 ERROR wrong\n\tat a.B.c(B.scala:1)\nCaused by: x\n18:42 INFO end\n";
        assert_eq!(tail(log), "18:41 ERROR wrong\nCaused by: x");
        assert_eq!(tail("18:40 INFO begin\n"), "18:40 INFO begin");
    }
}
