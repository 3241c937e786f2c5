use std::time::Duration;

use kc::core::keys::{KeyType, Signer, VerifyingKey};
use kc::core::provision::{
    NewNode, ProvisionError, Role, provision_node, provision_node_under, request_node,
};
use kc::core::types::Timestamp;
use kc::keystore_file::system_rng;

use super::Args;
use super::report::Made;
use crate::args::Password;
use crate::error::CliError;

/// What is at hand to certify the node.
pub(super) enum Way {
    /// Both passwords; a chain server's provisioning password is empty.
    Passwords {
        root: Password,
        provisioning: Password,
    },
    /// The key of the role's provisioner, and what the root signed for it.
    Under {
        root: VerifyingKey,
        signed: Vec<u8>,
        provisioner: Box<dyn Signer>,
    },
    /// Nothing: a person carries the request to the root.
    ByHand { root: VerifyingKey },
}

impl Way {
    /// Reads files and passwords.
    pub(super) fn of(args: &Args) -> Result<Self, CliError> {
        let Some(root) = &args.root_public else {
            return Ok(Self::Passwords {
                root: args.root_password.read()?,
                provisioning: args.provisioner.password.read_for(args.role)?,
            });
        };
        let root = root.verifying_key()?;
        let key_type = args.key_type.unwrap_or(root.key_type());
        match &args.signed_provisioner {
            _ if args.by_hand => Ok(Self::ByHand { root }),
            Some(signed) => {
                let by = args.role.provisioner();
                let by = by.ok_or(ProvisionError::NeedsRoot(args.role))?;
                Ok(Self::Under {
                    signed: signed.bytes("the signed certificate")?,
                    provisioner: args.provisioner.signer(by, &root, key_type)?,
                    root,
                })
            }
            None => Err(
                CliError::usage("--root-public alone certifies nothing").advise(
                    "add --signed-provisioner, what the root signed for the provisioner; or --by-hand, \
                     and have the node's own request signed",
                ),
            ),
        }
    }

    pub(super) fn key_type(&self) -> KeyType {
        match self {
            Self::Passwords { .. } => KeyType::Ed25519,
            Self::Under { root, .. } | Self::ByHand { root } => root.key_type(),
        }
    }

    pub(super) fn default_lifetime(&self, role: Role) -> Duration {
        match self {
            Self::Passwords { .. } => role.default_lifetime(),
            Self::Under { .. } | Self::ByHand { .. } => role.default_lifetime_without_root(),
        }
    }

    pub(super) fn make(self, node: &NewNode<'_>, now: Timestamp) -> Result<Made, CliError> {
        let rng = &mut system_rng()?;
        Ok(match self {
            Self::Passwords { root, provisioning } => {
                Made::Complete(provision_node(node, &root, &provisioning, now, rng)?)
            }
            Self::Under {
                root,
                signed,
                provisioner,
            } => Made::Complete(provision_node_under(
                &root,
                &signed,
                node,
                provisioner.as_ref(),
                now,
                rng,
            )?),
            Self::ByHand { root } => {
                let mut node = request_node(node, now, rng)?;
                node.trust(&root)?;
                Made::Requested { node, root }
            }
        })
    }
}
