use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{KafkaError, Version};

/// The option for a heap that is large enough for tests.
pub(super) const HEAP: &str = "-Xmx512m";
/// Options that make a server start quickly.
const OPTIONS: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

const LOG4J_2: &str = "\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
";
const LOG4J_1: &str = "\
log4j.rootLogger=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %m (%c)%n
";

/// Runs Kafka's programs, which log to standard output.
#[derive(Debug)]
pub(super) struct Java {
    class_path: PathBuf,
    log_settings: String,
    heap: &'static str,
}

impl Java {
    /// Writes the settings of the log to this file, and returns the runner.
    pub(super) fn new(
        version: Version,
        jars: &Path,
        log_settings: &Path,
        heap: &'static str,
    ) -> Result<Self, KafkaError> {
        let (option, text) = match version {
            Version::V4 => ("-Dlog4j2.configurationFile", LOG4J_2),
            Version::V3_9 => ("-Dlog4j.configuration", LOG4J_1),
        };
        fs::write(log_settings, text).map_err(KafkaError::file(log_settings))?;
        Ok(Self {
            class_path: jars.join("*"),
            log_settings: format!("{option}=file:{}", log_settings.display()),
            heap,
        })
    }

    pub(super) fn command(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .arg(self.heap)
            .args(OPTIONS)
            .args([&self.log_settings, "-cp"])
            .arg(&self.class_path)
            .arg(class)
            .stdin(Stdio::null());
        command
    }
}
