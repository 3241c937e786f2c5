//! The arguments that name a node, and the PIN of its token.

use std::env;
use std::path::Path;
#[cfg(feature = "hsm")]
use std::path::PathBuf;

use clap::Args;

use crate::error::CliError;

/// The environment variable that names the node if `--node` is not given.
const VARIABLE: &str = "KC_NODE";

/// The node of a command.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArg {
    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its .config file, or a
    /// folder that holds exactly one .config file
    #[arg(
        long,
        value_name = "ID|PATH",
        env = VARIABLE,
        hide_env_values = true,
        help_heading = "Node"
    )]
    pub(crate) node: String,
}

/// Returns the node that `--node` names, or the node that `KC_NODE` names if `--node` is not given.
///
/// This function is for commands in which another flag can replace `--node`. These commands cannot let clap read
/// `KC_NODE`, because clap would report a conflict between `--node` and the other flag.
///
/// # Errors
/// [`CliError`] if neither `--node` nor `KC_NODE` names a node.
pub(crate) fn node_or_environment(given: Option<&str>) -> Result<String, CliError> {
    let in_environment = || env::var(VARIABLE).ok().filter(|node| !node.is_empty());
    given
        .map(str::to_owned)
        .or_else(in_environment)
        .ok_or_else(|| {
            CliError::usage("no node is named")
                .advise(format!("give --node ID|PATH, or set {VARIABLE}"))
        })
}

/// The PIN of the token that holds a node's keys.
#[derive(Args, Clone, Debug)]
pub(crate) struct PinArg {
    /// A file with the PIN of the token that holds the node's keys [default: pin-source in the node's .config, else
    /// KC_HSM_PIN, else a prompt]
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
