use clap::{ArgAction, Args};
use kc::core::chain::Constraints;
use kc::core::provision::Role;
use kc::core::types::TopicScheme;

use crate::error::CliError;

/// What a certificate is to grant besides the role's usages.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificate")]
pub(crate) struct GrantArgs {
    /// The topics it may use [default: all; those of the old chain, if there is one]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', action = ArgAction::Append)]
    pub(crate) topics: Vec<String>,

    /// How many certificates may follow the node's own; requests and replies need one, a chain server
    /// needs two [default: what it needs; that of the old chain, if there is one]
    #[arg(long, value_name = "N")]
    pub(crate) pathlen: Option<u32>,
}

impl GrantArgs {
    pub(crate) fn path_length(&self, role: Role) -> u32 {
        self.pathlen.unwrap_or(role.default_path_length())
    }

    pub(crate) fn constraints(
        &self,
        role: Role,
        scheme: &TopicScheme,
    ) -> Result<Constraints, CliError> {
        let path_length = Some(self.path_length(role));
        Ok(role.constraints(&self.topics, scheme, path_length)?)
    }
}
