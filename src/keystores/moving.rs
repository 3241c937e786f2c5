use std::sync::Arc;

use kc_actors::SealedArchive;
use kc_core::keys::Signer;
use kc_core::ratchet::Seed;
use kc_core::store::config::{ConfigStore, NodeConfig};
use kc_core::store::{NodeSecrets, StoreError, StoreErrorKind, opaque};
use kc_keystore_file::{NodeFiles, NodeLock, SecretFile, crypto_path, ratchet_path, read_secrets};
use kc_keystore_hsm::{
    HsmError, HsmKeyStore, HsmRatchetStore, NodeLabels, PinSource, Pkcs11Uri, Token,
    generate_opaque_key, import_identity,
};

use super::token::place_on_token;
use super::{LeftFile, TokenKeys, left, on_token};
use crate::error::OpenError;
use crate::files::LockedFiles;

/// What is left in files of a node whose keys have moved onto a token.
#[derive(Debug)]
#[non_exhaustive]
pub struct Moved {
    /// Where the node's files are.
    pub files: NodeFiles,
    /// The file of the signing keys. Whoever has it is the node. `None` if it is gone.
    pub keys: Option<LeftFile>,
}

/// Moves a node from files onto a token: its signing keys, the key of its opaque values, and its ratchet, which goes
/// on where it was. The file of the ratchet is destroyed, because two copies of a ratchet repeat keys; that of the
/// signing keys is [left](Moved::keys) to the caller. `uri` names the token, and nothing on it.
///
/// # Errors
/// [`OpenError`]. The node stays in its files unless everything has worked; what was interrupted is gone on with when it
/// is done again.
pub fn move_to_token(node: &str, uri: &Pkcs11Uri, pin: PinSource) -> Result<Moved, OpenError> {
    let LockedFiles {
        files,
        lock,
        store,
        config,
    } = LockedFiles::open(node)?;
    if on_token(&config, "cryptokey")?.is_some() {
        return finish(files, &lock, &config);
    }
    let keys = LeftFile::new(crypto_path(&config, &files)?, left::KEYS, &lock);
    let secrets = read_secrets(keys.path())?;
    require_one_of_each(&secrets)?;
    let ratchet = ratchet_path(&config, &files)?;
    let ratchet = ratchet.map(|path| LeftFile::new(path, left::RATCHET, &lock));
    let seed = ratchet.as_ref().map(|file| read_seed(file.secret()));
    let seed = seed.transpose()?;
    let past_keys = past_keys(&config, &secrets)?;

    let labels = NodeLabels::fresh(config.node_id())?;
    let token = Token::open(uri, pin)?;
    token.capabilities()?.require()?;
    generate_opaque_key(&token, &labels)?;
    let moved = import_keys(&token, &labels, &secrets)?;
    let settings = moved.clone().settings(None);
    let keystore = HsmKeyStore::open(token.clone(), labels.clone(), settings)?;
    let rewrap = |value: Vec<u8>| keystore.rewrap_file_value(&value, secrets.opaque_key());
    let past_keys = past_keys.map(rewrap).transpose()?;
    if let Some(seed) = &seed {
        HsmRatchetStore::import(token, &labels, &files.sealed_ratchet(), seed)?;
    }

    store.update(&mut |config| {
        for file in ratchet.iter().chain([&keys]) {
            file.remember(config)?;
        }
        place_on_token(config, uri, &labels, seed.is_some())?;
        if let Some(past_keys) = &past_keys {
            SealedArchive::set_sealed(config, past_keys)?;
        }
        moved.write(config)
    })?;
    if let Some(ratchet) = ratchet {
        ratchet.shred()?;
    }
    let keys = Some(keys);
    Ok(Moved { files, keys })
}

/// Does what is left to do for a node that has moved.
fn finish(files: NodeFiles, lock: &Arc<NodeLock>, config: &NodeConfig) -> Result<Moved, OpenError> {
    let keys = LeftFile::of(config, left::KEYS, files.crypto(), lock)?;
    let ratchet = match on_token(config, "ratchet")? {
        Some(_) => LeftFile::of(config, left::RATCHET, files.seed(), lock)?,
        None => None,
    };
    if keys.is_none() && ratchet.is_none() {
        return Err(OpenError::OnTokenAlready);
    }
    if let Some(ratchet) = ratchet {
        ratchet.shred()?;
    }
    Ok(Moved { files, keys })
}

/// Fails if there are two keys of a type: a token holds one.
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

fn read_seed(file: &SecretFile) -> Result<Seed, OpenError> {
    file.claim()?;
    let seed = Seed::decode(&file.read()?);
    seed.map_err(|error| {
        let context = format!("ratchet in {}", file.path().display());
        OpenError::Store(StoreError::new(StoreErrorKind::Malformed, context).with_source(error))
    })
}

/// The past keys as they are wrapped, after making sure that they open.
fn past_keys(config: &NodeConfig, secrets: &NodeSecrets) -> Result<Option<Vec<u8>>, OpenError> {
    let Some(wrapped) = SealedArchive::sealed(config)? else {
        return Ok(None);
    };
    if opaque::unwrap(&wrapped, secrets.opaque_key()).is_none() {
        let kind = StoreErrorKind::Unauthentic;
        return Err(OpenError::Store(StoreError::new(
            kind,
            "past keys of the node",
        )));
    }
    Ok(Some(wrapped))
}

fn import_keys(
    token: &Token,
    labels: &NodeLabels,
    secrets: &NodeSecrets,
) -> Result<TokenKeys, OpenError> {
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
