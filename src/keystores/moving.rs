use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_actors::SealedArchive;
use kc_core::keys::Signer;
use kc_core::ratchet::Seed;
use kc_core::store::config::{ConfigError, ConfigStore, NodeConfig, Value};
use kc_core::store::{NodeSecrets, StoreError, StoreErrorKind, opaque};
use kc_core::text::with_sources;
use kc_keystore_file::{
    FileConfigStore, NodeFiles, NodeLock, SecretFile, crypto_path, ratchet_path, read_secrets,
};
use kc_keystore_hsm::{
    HsmError, HsmKeyStore, HsmRatchetStore, NodeLabels, PinSource, Pkcs11Uri, Token,
    destroy_node_keys, generate_opaque_key, import_identity, nodes_called,
};

use super::token::{SECTION, open_token, place_on_token, unusable};
use super::{MOVING, NodePin, TokenKeys, on_token};
use crate::error::Error;
use crate::maintenance::LockedFiles;
use crate::token_error::TokenError;

/// The name of the entry that contains the path of the signing keys' file. This file still exists after a move.
const LEFT_KEYS: &str = "left_keys";
/// The name of the entry that contains the path of the ratchet's file. This file still exists if a move was
/// interrupted.
const LEFT_RATCHET: &str = "left_ratchet";

/// The remaining files of a node whose keys were moved onto a token.
#[derive(Debug)]
#[non_exhaustive]
pub struct Moved {
    /// The paths of the node's files.
    pub files: NodeFiles,
    /// The file of the signing keys, with which an attacker could still act as the node. This is `None` if the file no
    /// longer exists.
    pub keys: Option<LeftFile>,
}

/// Moves a node from files onto a token: its signing keys and its ratchet, which continues at the same index. The token
/// generates a new opaque key, under which the retained keys are sealed again. `uri` names the token, and no object on
/// it. The file of the ratchet is destroyed, because two copies of a ratchet would use the same keys twice. The file of
/// the signing keys is [returned](Moved::keys), and the caller decides what happens to it.
///
/// The configuration records the move before the first object is created on the token. From then on the ratchet takes
/// no step until the move is finished or [undone](undo_move).
///
/// # Errors
/// Returns [`Error`] if the node cannot be read, another process has it open, its keys are on a token already, an
/// unfinished move of the node leads to another token, or the token fails. If the token fails, the move is undone if
/// possible, and the node stays in its files. If the move cannot be undone, or if it was interrupted, a repeated call
/// continues it.
pub fn move_to_token(node: &str, uri: &Pkcs11Uri, pin: PinSource) -> Result<Moved, Error> {
    let locked = LockedFiles::open(node)?;
    if on_token(&locked.config, "cryptokey")?.is_some() {
        return finish(locked.files, &locked.lock, &locked.config);
    }
    let begun = begun(&locked.config)?;
    let labels = match &begun {
        Some(begun) if is_same_token(begun, uri) => NodeLabels::of_uri(begun)?,
        Some(begun) => {
            let token = begun.to_string();
            return Err(TokenError::MovingElsewhere { token }.into());
        }
        None => NodeLabels::fresh(locked.config.node_id())?,
    };
    let leaving = Leaving::read(&locked)?;
    let token = Token::open_remembering(uri, pin, locked.files.refused_pins())?;
    if begun.is_some() {
        clear(&token, &labels, &leaving)?;
    }
    if let Err(error) = leaving.arrive(&locked, &token, &labels) {
        undo_failed(&locked, &token, &labels, &leaving);
        return Err(error);
    }
    if let Some(ratchet) = leaving.ratchet {
        ratchet.shred()?;
    }
    Ok(Moved {
        files: locked.files,
        keys: Some(leaving.keys),
    })
}

/// Undoes an unfinished [move](move_to_token): destroys the objects that the move created on the token. The node
/// continues in its files. `pin` overrides the source of the token's PIN that the configuration names.
///
/// # Errors
/// Returns [`Error`] if no move is in progress, the configuration already names the token as the place of the keys,
/// the ratchet was used on the token, another process has the node open, or the token fails.
pub fn undo_move(node: &str, pin: Option<&NodePin>) -> Result<(), Error> {
    let locked = LockedFiles::open(node)?;
    if on_token(&locked.config, "cryptokey")?.is_some() {
        return Err(TokenError::OnTokenAlready.into());
    }
    let begun = begun(&locked.config)?.ok_or(TokenError::NotMoving)?;
    let leaving = Leaving::read(&locked)?;
    let (token, labels) = open_token(&begun.to_string(), pin, &locked.files)?;
    undo(&locked, &token, &labels, &leaving)
}

/// Returns the URI of the keys on the token, if a move is in progress.
fn begun(config: &NodeConfig) -> Result<Option<Pkcs11Uri>, Error> {
    let Some(text) = config.load_text(SECTION, MOVING)? else {
        return Ok(None);
    };
    let uri = text.trim().parse();
    uri.map(Some).map_err(|_| unusable(MOVING.to_owned()))
}

fn is_same_token(begun: &Pkcs11Uri, uri: &Pkcs11Uri) -> bool {
    let names = |uri: &Pkcs11Uri| {
        let (token, serial) = (uri.token.clone(), uri.serial.clone());
        (token, serial, uri.manufacturer.clone(), uri.model.clone())
    };
    names(begun) == names(uri)
}

/// Destroys the objects on the token that an unfinished move created. Returns [`TokenError::UsedOnToken`], and destroys
/// nothing, if the ratchet has taken steps on the token: then the move was finished, and the configuration is an older
/// copy. Otherwise the objects count as unused.
fn clear(token: &Token, labels: &NodeLabels, leaving: &Leaving) -> Result<(), Error> {
    let nodes = nodes_called(token, labels.node_id())?;
    let found = nodes.into_iter().find(|node| node.labels == *labels);
    let known = found.and_then(|node| node.ratchet);
    let seed = leaving.seed.as_ref().map(Seed::index);
    if let (Some(known), Some(index)) = (known, seed)
        && known > index
    {
        return Err(TokenError::UsedOnToken { index, known }.into());
    }
    Ok(destroy_node_keys(token, labels)?)
}

fn undo(
    locked: &LockedFiles,
    token: &Token,
    labels: &NodeLabels,
    leaving: &Leaving,
) -> Result<(), Error> {
    clear(token, labels, leaving)?;
    locked.store.update(&mut |config| {
        config.remove(SECTION, MOVING);
        Ok(())
    })?;
    Ok(())
}

/// Undoes a failed move. Does nothing if the configuration already names the token as the place of the keys. In this
/// case only the last step of the move has failed: it flushes the folder of the configuration.
fn undo_failed(locked: &LockedFiles, token: &Token, labels: &NodeLabels, leaving: &Leaving) {
    let stays = locked.store.load().map_err(Error::from);
    let stays = stays.and_then(|config| Ok(on_token(&config, "cryptokey")?.is_none()));
    let undone = match stays {
        Ok(false) => return,
        Ok(true) => undo(locked, token, labels, leaving),
        Err(error) => Err(error),
    };
    if let Err(error) = undone {
        let path = locked.files.config();
        tracing::warn!(
            error = %with_sources(&error), path = %path.display(),
            "failed move onto a token was not undone: a node with a ratchet does not start until the move is finished or \
             undone"
        );
    }
}

/// A node in files that is moved onto a token.
struct Leaving {
    keys: LeftFile,
    secrets: NodeSecrets,
    ratchet: Option<LeftFile>,
    seed: Option<Seed>,
    /// The retained keys in the form in which they are stored: sealed.
    retained_keys: Option<Vec<u8>>,
    sealed_ratchet: PathBuf,
}

impl Leaving {
    fn read(locked: &LockedFiles) -> Result<Self, Error> {
        let LockedFiles {
            files,
            lock,
            config,
            ..
        } = locked;
        let keys = LeftFile::new(crypto_path(config, files)?, LEFT_KEYS, lock);
        let secrets = read_secrets(keys.path())?;
        require_one_of_each(&secrets)?;
        let ratchet = ratchet_path(config, files)?;
        let ratchet = ratchet.map(|path| LeftFile::new(path, LEFT_RATCHET, lock));
        let seed = ratchet.as_ref().map(|file| read_seed(file.secret()));
        Ok(Self {
            seed: seed.transpose()?,
            retained_keys: retained_keys(config, &secrets)?,
            keys,
            secrets,
            ratchet,
            sealed_ratchet: files.sealed_ratchet(),
        })
    }

    /// Records the token in the configuration, puts the keys onto the token, and then makes the configuration name the
    /// token as the place of the keys.
    fn arrive(
        &self,
        locked: &LockedFiles,
        token: &Token,
        labels: &NodeLabels,
    ) -> Result<(), Error> {
        let uri = token.uri();
        let to = uri.with_object(labels.identity()).to_string();
        locked.store.update(&mut |config| {
            config
                .set(SECTION, MOVING, &Value::from(to.as_str()))
                .map(drop)
        })?;

        generate_opaque_key(token, labels)?;
        let moved = import_keys(token, labels, &self.secrets)?;
        let settings = moved.clone().settings(None);
        let keystore = HsmKeyStore::open(token.clone(), labels.clone(), settings)?;
        let rewrap = |value: &Vec<u8>| keystore.rewrap_file_value(value, self.secrets.opaque_key());
        let retained_keys = self.retained_keys.as_ref().map(rewrap).transpose()?;
        if let Some(seed) = &self.seed {
            HsmRatchetStore::import(token.clone(), labels, &self.sealed_ratchet, seed)?;
        }

        locked.store.update(&mut |config| {
            for file in self.ratchet.iter().chain([&self.keys]) {
                file.remember(config)?;
            }
            config.remove(SECTION, MOVING);
            place_on_token(config, uri, labels, self.seed.is_some())?;
            if let Some(retained_keys) = &retained_keys {
                SealedArchive::set_sealed(config, retained_keys)?;
            }
            moved.write(config)
        })?;
        Ok(())
    }
}

/// Finishes the move of a node whose configuration already names the token.
fn finish(files: NodeFiles, lock: &Arc<NodeLock>, config: &NodeConfig) -> Result<Moved, Error> {
    let keys = LeftFile::of(config, LEFT_KEYS, files.crypto(), lock)?;
    let ratchet = match on_token(config, "ratchet")? {
        Some(_) => LeftFile::of(config, LEFT_RATCHET, files.seed(), lock)?,
        None => None,
    };
    if keys.is_none() && ratchet.is_none() {
        return Err(TokenError::OnTokenAlready.into());
    }
    if let Some(ratchet) = ratchet {
        ratchet.shred()?;
    }
    Ok(Moved { files, keys })
}

/// Returns an error if the node has two keys of one type, because a token holds only one key of each type for a node.
fn require_one_of_each(secrets: &NodeSecrets) -> Result<(), HsmError> {
    let mut types = Vec::new();
    for key in secrets.signing_keys() {
        let key_type = key.verifying_key().key_type();
        if types.contains(&key_type) {
            return Err(HsmError::TwoKeys(key_type));
        }
        types.push(key_type);
    }
    Ok(())
}

fn read_seed(file: &SecretFile) -> Result<Seed, Error> {
    file.claim()?;
    let seed = Seed::decode(&file.read()?);
    seed.map_err(|error| {
        let context = format!("use the ratchet in {}", file.path().display());
        Error::from(StoreError::new(StoreErrorKind::Malformed, context).with_source(error))
    })
}

/// Returns the retained keys in the form in which they are stored: sealed. Checks that they can be opened.
fn retained_keys(config: &NodeConfig, secrets: &NodeSecrets) -> Result<Option<Vec<u8>>, Error> {
    let Some(wrapped) = SealedArchive::sealed(config)? else {
        return Ok(None);
    };
    if opaque::unwrap(&wrapped, secrets.opaque_key()).is_none() {
        let kind = StoreErrorKind::Unauthentic;
        return Err(Error::from(StoreError::new(
            kind,
            "open the retained keys of the node",
        )));
    }
    Ok(Some(wrapped))
}

fn import_keys(
    token: &Token,
    labels: &NodeLabels,
    secrets: &NodeSecrets,
) -> Result<TokenKeys, Error> {
    let mut moved = TokenKeys {
        suites: secrets.suites().collect(),
        legacy_requests: secrets.legacy_requests(),
        ..TokenKeys::default()
    };
    for key in secrets.signing_keys() {
        moved.add(import_identity(token, labels, key)?);
    }
    Ok(moved)
}

/// A file with secrets that still exists after a move of the node onto a token. The node does not read this file.
#[derive(Debug)]
pub struct LeftFile {
    file: SecretFile,
    entry: &'static str,
    lock: Arc<NodeLock>,
}

impl LeftFile {
    fn new(path: PathBuf, entry: &'static str, lock: &Arc<NodeLock>) -> Self {
        Self {
            file: SecretFile::new(path, Arc::clone(lock)),
            entry,
            lock: Arc::clone(lock),
        }
    }

    /// Returns the remaining file that a configuration names, if the file exists. A configuration that an earlier
    /// version of kc wrote does not name a file: the path is then `default`.
    fn of(
        config: &NodeConfig,
        entry: &'static str,
        default: PathBuf,
        lock: &Arc<NodeLock>,
    ) -> Result<Option<Self>, Error> {
        let path = match config.load_text(SECTION, entry)? {
            Some(reference) => {
                let path = lock.files().resolve(&reference);
                path.ok_or_else(|| unusable(entry.to_owned()))?
            }
            None => default,
        };
        Ok(path.exists().then(|| Self::new(path, entry, lock)))
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn secret(&self) -> &SecretFile {
        &self.file
    }

    /// Records the path of the file in a configuration.
    fn remember(&self, config: &mut NodeConfig) -> Result<(), ConfigError> {
        if let Some(reference) = self.lock.files().reference(self.path()) {
            config.set(SECTION, self.entry, &Value::from(reference.as_str()))?;
        }
        Ok(())
    }

    /// Destroys the file, and removes its path from the configuration.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Files`](crate::ErrorKind::Files) if the file cannot be destroyed, and
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the configuration cannot be stored. The call can
    /// be repeated.
    pub fn shred(self) -> Result<(), Error> {
        self.file.shred()?;
        FileConfigStore::new(self.lock).update(&mut |config| {
            config.remove(SECTION, self.entry);
            Ok(())
        })?;
        Ok(())
    }
}
