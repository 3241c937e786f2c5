//! What goes wrong with certificates and the keys of a node.

use kc::core::provision::ProvisionError;
use kc::core::store::NodeSecretsError;
use kc::keystore_file::EntryError;

use super::{CliError, Exit, with_sources};

const REQUESTS: &str =
    "a root signs the requests of `kc provision --by-hand` and `kc chain provisioners`";

impl From<ProvisionError> for CliError {
    fn from(error: ProvisionError) -> Self {
        let text = with_sources(&error);
        let usage = |advice: &str| Self::usage(text.clone()).advise(advice);
        let refused = |advice: &str| Self::new(Exit::Refused, text.clone()).advise(advice);
        match &error {
            ProvisionError::TooManyTopics(_) | ProvisionError::Config(_) => Self::usage(text),
            ProvisionError::NeedsRoot(_) => usage(
                "provision it where the root password is, or --by-hand: the root signs its request",
            ),
            ProvisionError::NothingToEscrow(_) => usage("leave --escrow-key out"),
            ProvisionError::Escrow(_) => usage("give the escrow key's public half again"),
            ProvisionError::Certificate(behind) => Self::refused(error.to_string(), behind).advise(
                "check that it is what the root signed, unaltered, and under this root; `kc chain inspect` \
                 shows it",
            ),
            ProvisionError::Request(behind) => {
                Self::refused(error.to_string(), behind).advise(REQUESTS)
            }
            ProvisionError::NotARequest => refused(REQUESTS),
            ProvisionError::OtherKey { .. } => refused(
                "the provisioning password, or the provisioner's key, is another than that of the request; or the \
                 certificate is for another role or node",
            ),
            ProvisionError::GrantsOther => refused(
                "the role's provisioner may not grant all of this: have the right request signed",
            ),
            _ => Self::failure(text),
        }
    }
}

impl From<EntryError> for CliError {
    fn from(error: EntryError) -> Self {
        Self::from_error(error).advise("correct the node's .config file")
    }
}

impl From<NodeSecretsError> for CliError {
    fn from(error: NodeSecretsError) -> Self {
        Self::usage(error.to_string())
    }
}
