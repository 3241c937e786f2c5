//! Lists of one node, which nothing but this program changes.

use std::sync::Arc;

use kc::actors::chain::TrustArchive;
use kc::actors::{ConfigTrustArchive, stored_entries};
use kc::core::chain::{TrustList, UpdateError};
use kc::core::store::config::{ConfigStore, Name, NodeConfig, NodeRole, Section};
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node};

use super::args::entries;
use super::refusal::refused;
use crate::args::KeyArgs;
use crate::error::CliError;
use crate::status::{node_settings, trust};
use crate::ui::Ui;

/// Adds keys; none of them if one is there already.
pub(super) fn add(
    list: TrustList,
    node: &str,
    key: &KeyArgs,
    topics: &[String],
    ui: Ui,
) -> Result<(), CliError> {
    let keys = key.read()?;
    let (files, config, store) = open(node)?;
    let scheme = node_settings(&files, &config)?.scheme();
    let entries = entries(list, &keys, topics, &scheme)?;
    let known = trust(&files, &config)?;
    let (node, list_name) = (config.node_id(), list.name());
    for key in &keys {
        let fingerprint = key.fingerprint();
        if known.lists(list, key) {
            let what = format!("{fingerprint} does not come onto the {list_name} of {node}");
            return Err(refused(what, &UpdateError::Present));
        }
        if list == TrustList::Allow && known.lists(TrustList::Deny, key) {
            ui.note(format!(
                "note: {fingerprint} is on the denylist of {node} too, which counts more; `kc trust deny \
                 --remove` takes it out"
            ));
        }
    }
    let mut archive = ConfigTrustArchive::new(Arc::new(store));
    for (key, entry) in keys.iter().zip(&entries) {
        archive.add_entry(list, entry)?;
        let fingerprint = key.fingerprint();
        ui.result(format!("{fingerprint} is on the {list_name} of {node} now"))?;
    }
    Ok(())
}

/// Removes the entries that are for these keys alone.
pub(super) fn remove(list: TrustList, node: &str, key: &KeyArgs, ui: Ui) -> Result<(), CliError> {
    let keys = key.read()?;
    let (files, config, store) = open(node)?;
    let (node, list_name) = (config.node_id(), list.name());
    let found = stored_entries(&config, list)?.unwrap_or_default();
    let found = found.into_iter().filter_map(|(name, entry)| {
        let key = entry.key().filter(|key| keys.contains(*key))?;
        Some((name, key.fingerprint()))
    });
    let found: Vec<(Name, String)> = found.collect();
    if found.is_empty() {
        let keys: Vec<_> = keys.iter().map(|key| key.fingerprint()).collect();
        let keys = keys.join(", ");
        let message = format!("the {list_name} of {node} has no entry for {keys} alone");
        return Err(CliError::failure(message)
            .advise(format!("kc trust list --node {node} shows what it has")));
    }
    let stored = store.update(&mut |config| {
        for (name, _) in &found {
            config.remove(Section::named(list.name()), name);
        }
        Ok(())
    })?;
    for (_, fingerprint) in &found {
        ui.result(format!(
            "{fingerprint} is no longer on the {list_name} of {node}"
        ))?;
    }
    if trust(&files, &stored)?.roots().next().is_none() {
        ui.note(format!(
            "note: {node} has no root of trust: it trusts nobody"
        ));
    }
    Ok(())
}

/// The node's configuration, under its lock.
fn open(node: &str) -> Result<(NodeFiles, NodeConfig, FileConfigStore), CliError> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    let store = FileConfigStore::new(Arc::new(NodeLock::acquire(&files)?));
    Ok((files, store.migrated(NodeRole::Node)?, store))
}
