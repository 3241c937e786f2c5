//! The node of a command that sends or receives files, and its connection.

use crate::args::{ConnectionArgs, node_or_environment};
use crate::error::CliError;
use crate::kafka_config::{For, OpenMsiConfig};

/// The arguments that name the node.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct PeerArgs {
    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its .config file, or a
    /// folder that holds exactly one .config file [default: the node of --openmsi-config, else KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    /// A configuration file of OpenMSIStream: its node and the settings of its Kafka clients. -b, --security-protocol and
    /// -X override the settings
    #[arg(long, value_name = "FILE", value_parser = OpenMsiConfig::read, conflicts_with = "kafka_config",
        help_heading = "Node")]
    openmsi_config: Option<OpenMsiConfig>,
}

impl PeerArgs {
    /// Returns the node.
    ///
    /// # Errors
    /// [`CliError`] if no node is named.
    pub(super) fn node(&self) -> Result<String, CliError> {
        let config = self.openmsi_config.as_ref();
        let given = self.node.as_deref();
        let named = given.or_else(|| config.and_then(OpenMsiConfig::node));
        node_or_environment(named).map_err(|error| match config {
            Some(config) => CliError::usage(format!(
                "no node is named: {} has no node_id or config_file in a section [kafkacrypto]",
                config.path()
            ))
            .advise("give --node ID|PATH, also with --plain, which sends and receives without encryption"),
            None => error,
        })
    }

    /// Returns the connection, with the settings of the configuration file for senders or receivers.
    pub(super) fn connection(&self, connection: &ConnectionArgs, role: For) -> ConnectionArgs {
        let mut connection = connection.clone();
        if let Some(config) = &self.openmsi_config {
            connection.kafka_config = Some(config.settings(role));
        }
        connection
    }

    /// Returns the group of receivers that the configuration file names.
    pub(super) fn group(&self) -> Option<&str> {
        self.openmsi_config.as_ref()?.group()
    }
}
