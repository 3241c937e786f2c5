//! The parts of nodes: keys, chains, lists, files.

use kc_core::chain::{ChainError, Identity, Trust, TrustEntry, TrustStore, UnverifiedChain};
use kc_core::keys::{Signer, SigningKey, VerifyingKey};
use kc_core::own_chains::OwnChains;
use kc_core::store::NodeSecrets;
use kc_core::store::config::{Name, NodeConfig, Section, Setting, Value};
use kc_core::wire::Writer;

use crate::operation::{Invalid, invalid};
use crate::values::Hex;

/// The placeholder in the vectors for the path of the host's certificate authorities.
pub(crate) const CA_FILE: &str = "<SYSTEM-CA>";

/// The keys and chains of a node, and its lists.
pub(crate) struct Credentials {
    pub(crate) secrets: NodeSecrets,
    pub(crate) trust: Trust,
}

impl Credentials {
    pub(crate) fn new(secrets: NodeSecrets, chains: &OwnChains, trust: TrustStore) -> Self {
        let keys = secrets.signing_keys().map(Signer::verifying_key);
        Self {
            trust: Trust::new(trust, identities(keys, chains)),
            secrets,
        }
    }

    /// Returns the signing key with this public key.
    pub(crate) fn signer(&self, public: &VerifyingKey) -> Option<&SigningKey> {
        let mut keys = self.secrets.signing_keys();
        keys.find(|key| key.verifying_key() == public)
    }
}

/// Returns each key with its chain.
pub(crate) fn identities<'k>(
    keys: impl Iterator<Item = &'k VerifyingKey>,
    chains: &OwnChains,
) -> Vec<Identity> {
    let identity = |(position, key): (usize, &VerifyingKey)| {
        let chain = chains.of_key(position, key);
        Identity::new(key.clone(), chain.first().map(|chain| chain.bytes.clone()))
    };
    keys.enumerate().map(identity).collect()
}

/// Returns chains as a configuration has them, in this order; `None` stands for a missing entry.
pub(crate) fn chains(chains: &[Option<Hex>]) -> OwnChains {
    let entry = |(position, chain): (usize, &Option<Hex>)| {
        let chain = chain.as_ref()?.0.clone();
        Some((Name::from(format!("chain{position}").as_str()), chain))
    };
    chains.iter().enumerate().filter_map(entry).collect()
}

/// A list of packed certificates, if there is one.
pub(crate) type List = Option<Vec<Hex>>;

pub(crate) fn trust(allowlist: &List, denylist: &List) -> Result<TrustStore, ChainError> {
    let parse = |list: &Vec<Hex>| -> Result<Vec<_>, _> {
        list.iter().map(|entry| TrustEntry::parse(entry)).collect()
    };
    let allowlist = allowlist.as_ref().map(parse).transpose()?;
    let denylist = denylist.as_ref().map(parse).transpose()?;
    Ok(TrustStore::new(allowlist, denylist.unwrap_or_default()))
}

/// Returns the secrets in a file.
pub(crate) fn secrets(file: &Hex) -> Result<NodeSecrets, Invalid> {
    let decoded = NodeSecrets::decode(file).map_err(invalid("crypto_file"))?;
    Ok(decoded.secrets)
}

/// Returns the entries of a section, all of which are bytes, with their names.
pub(crate) fn binary_entries(
    config: &NodeConfig,
    section: Section<'_>,
) -> Result<Vec<(String, Vec<u8>)>, Invalid> {
    let settings = config.own_settings(section).map_err(invalid("config"))?;
    let entry = |setting: &Setting| match setting.value() {
        Some(Value::Bytes(bytes)) => Ok((setting.name.to_string(), bytes)),
        _ => Err(Invalid(format!("{}: holds no bytes", setting.name))),
    };
    settings.iter().map(entry).collect()
}

/// Returns the array of a chain's links.
pub(crate) fn repacked(chain: &[u8]) -> Result<Hex, Invalid> {
    let chain = UnverifiedChain::parse(chain).map_err(Invalid::new)?;
    let mut writer = Writer::new();
    writer.array(chain.links().len());
    for link in chain.links() {
        writer.bytes(link);
    }
    Ok(writer.into_vec().into())
}
