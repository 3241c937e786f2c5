use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::KafkaError;

/// Ends when its standard input does. Waits a second so that nobody writes any more to what it removes.
const SCRIPT: &str = r#"read -r _; kill -KILL "$1"; [ -z "$2" ] || { sleep 1; rm -rf "$2"; }"#;

/// Kills a process, and removes its temporary folder, when this process ends without having done so: nothing is
/// dropped then, as statics never are.
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
            // Ctrl-C must not reach it.
            .process_group(0)
            .spawn()
            .map_err(KafkaError::program("sh"))?;
        Ok(Self { shell })
    }

    /// Sends it away without a deed.
    pub(super) fn dismiss(mut self) {
        // Nothing else ends it, and it is our child.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
