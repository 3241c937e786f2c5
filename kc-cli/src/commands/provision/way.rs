//! The ways to certify a new node, and the places of its keys.

use std::time::Duration;

use kc::core::keys::{KeyType, Signer, VerifyingKey};
use kc::core::provision::{
    NewKey, NewNode, ProvisionError, Role, provision_node, provision_node_under, request_node,
};
use kc::core::types::Timestamp;
use kc::keystore_file::{NodeFiles, create_node, system_rng};
use kc::maintenance::unused_index;
#[cfg(feature = "hsm")]
use kc::maintenance::{NewTokenKeys, SameId};

use super::Args;
use super::report::Made;
use crate::args::Password;
use crate::error::CliError;

/// The secrets that are available to certify the node.
pub(super) enum Way {
    /// The root password and the provisioning password. If the root itself certifies the role, the provisioning
    /// password is empty.
    Passwords {
        root: Password,
        provisioning: Password,
    },
    /// The key of the role's provisioner, and the certificate that the root signed for it.
    Under {
        root: VerifyingKey,
        signed: Vec<u8>,
        provisioner: Box<dyn Signer>,
    },
    /// No secret. A person takes a request to the holder of the root of trust, who signs the request.
    ByHand { root: VerifyingKey },
}

impl Way {
    /// Returns the way that the arguments ask for. Reads the files and passwords for it, or opens the provisioner's key
    /// on a token.
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
                CliError::usage("--root-public is given without --signed-provisioner and without --by-hand").advise(
                    "add --signed-provisioner with the certificate that the root signed for the provisioner; or add \
                     --by-hand, and sign the printed request with `kc chain sign`",
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

    /// Returns the provisioning password, if the root password is given, too. Returns `None` if the root itself
    /// certifies the role, or if only the public key of the root is given.
    pub(super) fn provisioning_password(&self) -> Option<&Password> {
        match self {
            Self::Passwords { provisioning, .. } => {
                Some(provisioning).filter(|password| !password.is_empty())
            }
            Self::Under { .. } | Self::ByHand { .. } => None,
        }
    }

    pub(super) fn make(&self, node: &NewNode<'_>, now: Timestamp) -> Result<Made, CliError> {
        let rng = &mut system_rng()?;
        Ok(match self {
            Self::Passwords { root, provisioning } => {
                Made::Complete(provision_node(node, root, provisioning, now, rng)?)
            }
            Self::Under {
                root,
                signed,
                provisioner,
            } => Made::Complete(provision_node_under(
                root,
                signed,
                node,
                provisioner.as_ref(),
                now,
                rng,
            )?),
            Self::ByHand { root } => {
                let mut node = request_node(node, now, rng)?;
                node.trust(root)?;
                let root = root.clone();
                Made::Requested { node, root }
            }
        })
    }
}

/// The place of a new node's keys.
pub(super) struct Home<'a> {
    args: &'a Args,
    key_type: KeyType,
    place: Place,
}

enum Place {
    /// Files in the folder of the node's configuration.
    Files,
    #[cfg(feature = "hsm")]
    Token(Box<NewTokenKeys>),
}

impl<'a> Home<'a> {
    /// Chooses the place of the keys. If the place is a token, generates the keys on it, or finds the keys that
    /// `--adopt` uses.
    pub(super) fn of(args: &'a Args, key_type: KeyType) -> Result<Self, CliError> {
        Ok(Self {
            args,
            key_type,
            place: Place::of(args, key_type)?,
        })
    }

    pub(super) fn key(&self) -> NewKey<'_> {
        match &self.place {
            Place::Files => NewKey::Drawn(self.key_type),
            #[cfg(feature = "hsm")]
            Place::Token(keys) => NewKey::Elsewhere(keys.verifying_key()),
        }
    }

    /// Returns the first index of the node's ratchet. If the node replaces another node, this is an index that the
    /// ratchet of the replaced node has not used.
    pub(super) fn first_index(&self, files: &NodeFiles) -> Result<u64, CliError> {
        let in_files = unused_index(files)?;
        match &self.place {
            #[cfg(feature = "hsm")]
            Place::Token(keys) => Ok(in_files.max(keys.first_index())),
            Place::Files => Ok(in_files),
        }
    }

    /// Returns the name of the token with the keys; `None` if the keys are in files.
    pub(super) fn token(&self) -> Option<String> {
        match &self.place {
            Place::Files => None,
            #[cfg(feature = "hsm")]
            Place::Token(keys) => Some(keys.token().to_string()),
        }
    }

    /// Removes the keys that were generated on the token for a node that could not be made.
    pub(super) fn give_up(self) {
        match self.place {
            Place::Files => {}
            #[cfg(feature = "hsm")]
            Place::Token(keys) => keys.give_up(),
        }
    }

    /// Writes the node's files.
    pub(super) fn create(&self, made: &mut Made) -> Result<NodeFiles, CliError> {
        let (folder, force) = (&self.args.dir, self.args.force);
        match (&self.place, made) {
            (Place::Files, Made::Complete(node)) => Ok(create_node(folder, &*node, force)?),
            (Place::Files, Made::Requested { node, .. }) => Ok(create_node(folder, &*node, force)?),
            #[cfg(feature = "hsm")]
            (Place::Token(keys), made) => {
                let (config, seed) = made.config_and_seed();
                Ok(keys.create(folder, config, seed, force)?)
            }
        }
    }
}

impl Place {
    #[cfg(not(feature = "hsm"))]
    fn of(_: &Args, _: KeyType) -> Result<Self, CliError> {
        Ok(Self::Files)
    }

    #[cfg(feature = "hsm")]
    fn of(args: &Args, key_type: KeyType) -> Result<Self, CliError> {
        let Some(uri) = &args.keystore.keystore else {
            return Ok(Self::Files);
        };
        let pin = crate::pin::of_token(uri, args.keystore.pin_file.as_deref())?;
        let same_id = match (args.adopt.adopt, args.force) {
            (true, _) => SameId::Adopt,
            (false, true) => SameId::Beside,
            (false, false) => SameId::Refuse,
        };
        let keys = NewTokenKeys::draw(&args.node, uri, pin, key_type, same_id)?;
        Ok(Self::Token(Box::new(keys)))
    }
}
