use kc_core::chain::{Demand, TrustEntry, TrustStore};
use kc_core::exchange::Identity;
use kc_core::keys::VerifyingKey;
use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};
use kc_core::types::Timestamp;

use super::{NodeError, NodeSettings};

/// Whom a configuration trusts.
///
/// # Errors
/// [`NodeError::Entry`] for an entry of a list that is no certificate, [`NodeError::Value`].
pub fn stored_trust(config: &NodeConfig, settings: &NodeSettings) -> Result<TrustStore, NodeError> {
    let allowlist = entries(config, Section::ALLOWLIST, "allowlist")?;
    let denylist = entries(config, Section::DENYLIST, "denylist")?;
    let trust = TrustStore::new(allowlist, denylist.unwrap_or_default());
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

fn entries(
    config: &NodeConfig,
    section: Section<'_>,
    name: &'static str,
) -> Result<Option<Vec<TrustEntry>>, NodeError> {
    let Some(values) = byte_values(config, section)? else {
        return Ok(None);
    };
    let entry = |(label, bytes): Labelled| {
        TrustEntry::parse(&bytes).map_err(|problem| NodeError::Entry {
            section: name,
            name: label,
            problem,
        })
    };
    values
        .into_iter()
        .map(entry)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// A binary value with its name.
type Labelled = (String, Vec<u8>);

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
        Some(Value::Bytes(bytes)) => Some((format!("{:?}", setting.name), bytes)),
        _ => None,
    });
    Ok(Some(bytes.collect()))
}
