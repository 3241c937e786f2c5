use kc_core::chain::{Demand, Identity, TrustEntry, TrustList, TrustStore};
use kc_core::keys::VerifyingKey;
use kc_core::store::config::{ConfigError, Name, NodeConfig, Section, Value};
use kc_core::types::Timestamp;

use super::{NodeError, NodeSettings};

/// Whom a configuration trusts.
///
/// # Errors
/// [`NodeError::Entry`] for an entry of a list that is no certificate, [`NodeError::Value`].
pub fn stored_trust(config: &NodeConfig, settings: &NodeSettings) -> Result<TrustStore, NodeError> {
    let entries = |list| -> Result<Option<Vec<TrustEntry>>, NodeError> {
        let entries = stored_entries(config, list)?;
        Ok(entries.map(|entries| entries.into_iter().map(|(_, entry)| entry).collect()))
    };
    let denylist = entries(TrustList::Deny)?.unwrap_or_default();
    let trust = TrustStore::new(entries(TrustList::Allow)?, denylist);
    Ok(trust.allow_classical_root(settings.allow_classical_root))
}

/// Who a node is: its signing keys, each with the chain that certifies it.
pub(super) fn identities(
    config: &NodeConfig,
    keys: Vec<VerifyingKey>,
    trust: &TrustStore,
    now: Timestamp,
) -> Result<Vec<Identity>, NodeError> {
    let chains = stored_chains(config)?;
    let certified = |(index, key): (usize, VerifyingKey)| {
        let candidates = chains
            .iter()
            .map(|chain| Identity::new(key.clone(), Some(chain.clone())));
        let valid = candidates
            .into_iter()
            .find(|identity| identity.validate(trust, &Demand::at(now)).is_ok());
        // A chain that is not valid says why.
        valid.unwrap_or_else(|| Identity::new(key, chains.get(index).cloned()))
    };
    Ok(keys.into_iter().enumerate().map(certified).collect())
}

/// The certificate chains that a configuration holds, as stored and not validated.
///
/// # Errors
/// [`ConfigError`] for a reference that cannot be resolved.
pub fn stored_chains(config: &NodeConfig) -> Result<Vec<Vec<u8>>, ConfigError> {
    let chains = byte_values(config, Section::CHAINS)?.unwrap_or_default();
    Ok(chains.into_iter().map(|(_, chain)| chain).collect())
}

/// The entries of one of a configuration's lists, each with its name; `None` if there is no such list.
///
/// # Errors
/// [`NodeError::Entry`] for an entry that is no certificate, [`NodeError::Value`].
pub fn stored_entries(
    config: &NodeConfig,
    list: TrustList,
) -> Result<Option<Vec<(Name, TrustEntry)>>, NodeError> {
    let Some(values) = byte_values(config, Section::named(list.name()))? else {
        return Ok(None);
    };
    let entry = |(name, bytes): Labelled| match TrustEntry::parse(&bytes) {
        Ok(entry) => Ok((name, entry)),
        Err(problem) => Err(NodeError::Entry {
            section: list.name(),
            name: name.to_string(),
            problem,
        }),
    };
    let entries: Result<_, _> = values.into_iter().map(entry).collect();
    entries.map(Some)
}

/// A binary value with its name.
type Labelled = (Name, Vec<u8>);

/// The binary values of a section; `None` if there is no such section.
fn byte_values(
    config: &NodeConfig,
    section: Section<'_>,
) -> Result<Option<Vec<Labelled>>, ConfigError> {
    if !config
        .document()
        .has_section(&section.name(config.node_id()))
    {
        return Ok(None);
    }
    let settings = config.own_settings(section)?.into_iter();
    let bytes = settings.filter_map(|setting| match setting.value() {
        Some(Value::Bytes(bytes)) => Some((setting.name.clone(), bytes)),
        _ => None,
    });
    Ok(Some(bytes.collect()))
}
