use kc::core::keys::KeyType;
use kc::core::provision::NewKey;
use kc::keystore_file::{NodeFiles, create_node};
use kc::unused_index;
#[cfg(feature = "hsm")]
use kc::{NewTokenKeys, SameId};

use super::Args;
use super::report::Made;
use crate::error::CliError;

/// Where the keys of a new node are.
pub(super) struct Home<'a> {
    args: &'a Args,
    key_type: KeyType,
    place: Place,
}

enum Place {
    /// In files beside its configuration.
    Files,
    #[cfg(feature = "hsm")]
    Token(Box<NewTokenKeys>),
}

impl<'a> Home<'a> {
    /// Draws the keys, if they are on a token.
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

    /// Where the node's ratchet begins: past that of a node that it replaces.
    pub(super) fn first_index(&self, files: &NodeFiles) -> Result<u64, CliError> {
        let in_files = unused_index(files)?;
        match &self.place {
            #[cfg(feature = "hsm")]
            Place::Token(keys) => Ok(in_files.max(keys.first_index())),
            Place::Files => Ok(in_files),
        }
    }

    /// The token that the keys are on.
    pub(super) fn token(&self) -> Option<String> {
        match &self.place {
            Place::Files => None,
            #[cfg(feature = "hsm")]
            Place::Token(keys) => Some(keys.token().to_string()),
        }
    }

    /// Leaves nothing behind of a node that was not made.
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
