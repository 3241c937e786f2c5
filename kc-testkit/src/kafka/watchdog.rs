use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::KafkaError;

/// A script that ends when its standard input does. It waits a second before it removes the folder, so that the killed
/// process no longer writes there.
const SCRIPT: &str = r#"read -r _; kill -KILL "$1"; [ -z "$2" ] || { sleep 1; rm -rf "$2"; }"#;

/// Kills a process and removes its temporary folder if this process ends without doing so: then no destructors run, as
/// for statics.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    pub(super) fn over(process: u32, temporary: Option<&Path>) -> Result<Self, KafkaError> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog", &process.to_string()])
            .arg(temporary.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C must not reach the script.
            .process_group(0)
            .spawn()
            .map_err(KafkaError::program("sh"))?;
        Ok(Self { shell })
    }

    /// Ends the watchdog without any action.
    pub(super) fn dismiss(mut self) {
        // The shell is a child of this process and does not end by itself.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
