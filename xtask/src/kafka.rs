//! A real Kafka in the background, for manual use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use kc_testkit::kafka::{Kafka, PASSWORD, USER, Version, cache_folder};

use crate::shell;

/// The time that Kafka has to end when it is asked to.
const STOP: Duration = Duration::from_secs(20);

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Starts a Kafka on 127.0.0.1, and prints the settings to connect to it. Uses the data of an earlier one.
    Start {
        /// The version: 4 or 3.9.
        version: Version,
        /// Adds listeners with TLS, and with TLS and a client certificate.
        #[arg(long)]
        tls: bool,
        /// Adds listeners with user and password, without and with TLS.
        #[arg(long)]
        sasl: bool,
        /// The first of the six ports.
        #[arg(long, default_value_t = 9092, value_parser = clap::value_parser!(u16).range(1..=65530))]
        port: u16,
    },
    /// Stops a Kafka, and keeps its data.
    Stop {
        /// The version: 4 or 3.9 [default: both]
        version: Option<Version>,
    },
    /// Runs the tests that need a real Kafka. Each test starts the Kafka that it needs.
    Test {
        /// Arguments for the tests: a part of their names, `--test-threads N`, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

pub(crate) fn run(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Start {
            version,
            tls,
            sasl,
            port,
        } => start(version, tls, sasl, port),
        Action::Stop { version } => {
            let versions = version.map_or(Version::ALL.to_vec(), |version| vec![version]);
            versions.into_iter().try_for_each(stop)
        }
        Action::Test { arguments } => test(&arguments),
    }
}

fn start(version: Version, tls: bool, sasl: bool, port: u16) -> anyhow::Result<()> {
    let folder = folder(version);
    if let Some(process) = running(&folder)? {
        bail!("Kafka {version} runs already, as process {process}");
    }
    let mut builder = Kafka::builder(version).folder(&folder).first_port(port);
    if tls {
        builder = builder.tls();
    }
    if sasl {
        builder = builder.sasl();
    }
    let kafka = builder.start()?;
    print(&kafka, &folder);
    let process = kafka.detach().context("it does not run")?;
    println!("\nKafka {version} runs as process {process} until `cargo xtask kafka stop`");
    Ok(())
}

fn print(kafka: &Kafka, folder: &Path) {
    println!("log and data in {}", folder.display());
    let listeners = kafka.listeners();
    if listeners.iter().any(|listener| listener.has_tls()) {
        let certificates = kafka.certificates();
        println!(
            "certificates: authority {}, client {}, its key {}, encrypted {} (password {})",
            certificates.ca.display(),
            certificates.client_certificate.display(),
            certificates.client_key.display(),
            certificates.encrypted_client_key.display(),
            certificates.client_key_password,
        );
    }
    if listeners.iter().any(|listener| listener.has_sasl()) {
        println!("user {USER}, password {PASSWORD}, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
    }
    for listener in listeners {
        println!("\n# {listener}");
        for (name, value) in kafka.client_settings(*listener) {
            println!("{name} : {value}");
        }
    }
}

fn stop(version: Version) -> anyhow::Result<()> {
    let folder = folder(version);
    let Some(process) = running(&folder)? else {
        println!("Kafka {version} does not run");
        return Ok(());
    };
    kill("-TERM", &process)?;
    let deadline = Instant::now() + STOP;
    while running(&folder)?.is_some() {
        if Instant::now() > deadline {
            kill("-KILL", &process)?;
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    println!("Kafka {version} stopped");
    Ok(())
}

fn kill(signal: &str, process: &str) -> anyhow::Result<()> {
    shell::run(Command::new("kill").args([signal, process]))
}

fn test(arguments: &[String]) -> anyhow::Result<()> {
    let mut cargo = shell::cargo("full-test");
    cargo.args(["--test", "kafka", "--"]);
    shell::run(cargo.args(arguments))
}

fn folder(version: Version) -> PathBuf {
    cache_folder().join(format!("run-{version}"))
}

/// Returns the process id of the Kafka that runs in this folder. It is searched in the command lines of all processes,
/// because an id in a file could belong to another process by now.
fn running(folder: &Path) -> anyhow::Result<Option<String>> {
    let properties = folder.join("server.properties");
    for process in fs::read_dir("/proc")? {
        let process = process?;
        // The process may have ended, or the entry may not be a process.
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if is_kafka(&command, &properties) {
            return Ok(process.file_name().into_string().ok());
        }
    }
    Ok(None)
}

/// Returns whether a command line, with a zero byte after each argument, is that of a Kafka with these properties.
fn is_kafka(command: &[u8], properties: &Path) -> bool {
    let properties = properties.as_os_str().as_encoded_bytes();
    let mut arguments = command.split(|byte| *byte == 0);
    arguments.any(|argument| argument == b"kafka.Kafka")
        && arguments.next().is_some_and(|next| next == properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_is_known_by_class_and_properties() {
        let ours = Path::new("/run-4.4.0/server.properties");
        let is_kafka = |command: &str| is_kafka(command.as_bytes(), ours);
        assert!(is_kafka(
            "java\0-cp\0jars/*\0kafka.Kafka\0/run-4.4.0/server.properties\0"
        ));
        for other in [
            "",
            "java\0kafka.Kafka\0",
            "java\0kafka.Kafka\0/run-3.9.2/server.properties\0",
            "java\0kafka.tools.StorageTool\0-c\0/run-4.4.0/server.properties\0",
            "vim\0/run-4.4.0/server.properties\0",
        ] {
            assert!(!is_kafka(other), "{other:?}");
        }
    }
}
