#[cfg(feature = "hsm")]
use kc::NewTokenKeys;
use kc::core::keys::KeyType;
use kc::core::provision::NewKey;
use kc::keystore_file::{NodeFiles, create_node};
use kc::unused_index;

use super::Args;
use super::report::Made;
use crate::error::CliError;

/// Where the keys of a new node are.
pub(super) enum Home {
    /// In files beside its configuration.
    Files,
    #[cfg(feature = "hsm")]
    Token(NewTokenKeys),
}

impl Home {
    /// Draws the keys, if they are on a token.
    pub(super) fn of(args: &Args, key_type: KeyType) -> Result<Self, CliError> {
        #[cfg(feature = "hsm")]
        if let Some(uri) = &args.keystore.keystore {
            let pin = crate::pin::of_token(uri, args.keystore.pin_file.as_deref())?;
            return Ok(Self::Token(NewTokenKeys::draw(
                &args.node, uri, pin, key_type,
            )?));
        }
        let _ = (args, key_type);
        Ok(Self::Files)
    }

    pub(super) fn key(&self, key_type: KeyType) -> NewKey<'_> {
        match self {
            Self::Files => NewKey::Drawn(key_type),
            #[cfg(feature = "hsm")]
            Self::Token(keys) => NewKey::Elsewhere(keys.verifying_key()),
        }
    }

    /// Where the node's ratchet begins: past that of a node that it replaces.
    pub(super) fn first_index(&self, args: &Args, files: &NodeFiles) -> Result<u64, CliError> {
        let in_files = unused_index(files)?;
        match self {
            #[cfg(feature = "hsm")]
            Self::Token(keys) if args.role.exchanges_keys() => {
                Ok(in_files.max(keys.first_index(files, args.force)?))
            }
            _ => Ok(in_files),
        }
    }

    /// The token that the keys are on.
    pub(super) fn token(&self) -> Option<String> {
        match self {
            Self::Files => None,
            #[cfg(feature = "hsm")]
            Self::Token(keys) => Some(keys.token().to_string()),
        }
    }

    /// Writes the node's files.
    pub(super) fn create(&self, args: &Args, made: &mut Made) -> Result<NodeFiles, CliError> {
        match (self, made) {
            (Self::Files, Made::Complete(node)) => Ok(create_node(&args.dir, &*node, args.force)?),
            (Self::Files, Made::Requested { node, .. }) => {
                Ok(create_node(&args.dir, &*node, args.force)?)
            }
            #[cfg(feature = "hsm")]
            (Self::Token(keys), made) => {
                let (config, seed) = made.config_and_seed();
                Ok(keys.create(&args.dir, config, seed, args.force)?)
            }
        }
    }
}
