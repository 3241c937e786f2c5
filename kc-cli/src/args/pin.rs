use std::path::Path;
#[cfg(feature = "hsm")]
use std::path::PathBuf;

use clap::Args;

/// The PIN of the token that a node's keys are on.
#[derive(Args, Clone, Debug)]
pub(crate) struct PinArg {
    /// A file with the PIN of the token that the node's keys are on; else pin-source in its .config, else
    /// KC_HSM_PIN, else a prompt
    #[cfg(feature = "hsm")]
    #[arg(long, value_name = "FILE", help_heading = "Passwords")]
    pin_file: Option<PathBuf>,
}

impl PinArg {
    #[cfg(feature = "hsm")]
    pub(crate) fn file(&self) -> Option<&Path> {
        self.pin_file.as_deref()
    }

    #[cfg(not(feature = "hsm"))]
    pub(crate) fn file(&self) -> Option<&Path> {
        None
    }
}
