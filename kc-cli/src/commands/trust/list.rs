//! Shows the allowlist and the denylist of one node (`kc trust list`), and changes the lists of a stopped node.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Clock;
use kc::actors::{ConfigTrustArchive, stored_entries};
use kc::core::chain::{TEMPORARY_ROOT, TrustEntry, TrustList, TrustStore, UpdateError};
use kc::core::keys::VerifyingKey;
use kc::core::store::TrustArchive;
use kc::core::store::config::{ConfigStore, Name, NodeConfig, NodeRole, Section};
use kc::core::types::Timestamp;
use kc::keystore_file::{
    FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node, read_config,
};
use serde::Serialize;

use super::entries as new_entries;
use super::update::refused;
use crate::args::{KeyArgs, NodeArg};
use crate::error::CliError;
use crate::neighbours::KnownNames;
use crate::status::{node_settings, trust};
use crate::ui::Ui;

/// Show the roots of trust of a node, and the keys that it denies
///
/// The node may be running.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// Print the lists as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The JSON of `kc trust list`.
#[derive(Debug, Serialize)]
struct Lists {
    node: String,
    allowlist: Vec<Entry>,
    denylist: Vec<Entry>,
}

/// A key on a list.
#[derive(Debug, Serialize)]
struct Entry {
    /// The name of the entry in the configuration.
    name: String,
    /// The type of the key: 1 or 4.
    #[serde(rename = "type")]
    key_type: u8,
    fingerprint: String,
    /// The byte form of the key in base64.
    key: String,
    /// The usages to which the key is limited; null means all.
    usages: Option<Vec<String>>,
    /// The topics to which the key is limited; null means all.
    topics: Option<Vec<String>>,
    /// The largest number of certificates that may follow the key in a chain; null means any number.
    path_length: Option<i64>,
    /// The time at which the entry expires, as ISO 8601 in UTC; null if it does not expire.
    expires: Option<String>,
    /// The reason why the entry has no effect; null if the entry has an effect.
    ignored: Option<&'static str>,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let config = read_config(&files)?;
    let trust = trust(&files, &config)?;
    let lists = Lists {
        node: config.node_id().to_owned(),
        allowlist: entries(&config, &trust, TrustList::Allow)?,
        denylist: entries(&config, &trust, TrustList::Deny)?,
    };
    if args.json {
        let json = serde_json::to_string(&lists).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    ui.result(lines(&lists, &KnownNames::near(Some(&files))).join("\n"))
}

fn entries(
    config: &NodeConfig,
    trust: &TrustStore,
    list: TrustList,
) -> Result<Vec<Entry>, CliError> {
    let now = Clock::system().now();
    let stored = stored_entries(config, list)?.unwrap_or_default();
    let of_key = |name: &Name, entry: &TrustEntry, key: &VerifyingKey| {
        let limits = entry.constraints().clone();
        Entry {
            name: name.to_string(),
            key_type: key.key_type().version(),
            fingerprint: key.fingerprint(),
            key: BASE64.encode(key.to_bytes()),
            usages: limits.usages,
            topics: limits.topics,
            path_length: limits.path_length,
            expires: entry.max_age().timestamp().map(|end| end.to_string()),
            ignored: match list {
                TrustList::Allow => ignored(trust, entry, key, now),
                // An entry of the denylist has no limits.
                TrustList::Deny => None,
            },
        }
    };
    let of_entry = |(name, entry): &(Name, TrustEntry)| {
        let keys = entry.keys().iter();
        keys.map(|key| of_key(name, entry, key)).collect::<Vec<_>>()
    };
    Ok(stored.iter().flat_map(of_entry).collect())
}

/// Returns the reason why the node does not accept a key on the allowlist as a root of trust; `None` if the node
/// accepts the key.
fn ignored(
    trust: &TrustStore,
    entry: &TrustEntry,
    key: &VerifyingKey,
    now: Timestamp,
) -> Option<&'static str> {
    if *key == TEMPORARY_ROOT {
        return Some("it is the temporary root, whose private key is public");
    }
    if entry.key() != Some(key) {
        return Some("the entry has several keys: a root of trust is a single key");
    }
    if trust.is_half_of_a_denied_hybrid(key) {
        return Some("it is the classical half of a hybrid key that is on the denylist");
    }
    if !trust.roots().any(|(root, _)| root == key) {
        return Some(
            "it is the classical half of a trusted hybrid root, and allow_classical_root is not set",
        );
    }
    if trust.lists(TrustList::Deny, key) {
        return Some("it is on the denylist");
    }
    entry.max_age().is_over(now).then_some("expired")
}

fn lines(lists: &Lists, names: &KnownNames) -> Vec<String> {
    let mut lines = vec![format!("allowlist of {}: roots of trust", lists.node)];
    lines.extend(
        lists
            .allowlist
            .iter()
            .flat_map(|entry| root_lines(entry, names)),
    );
    if lists.allowlist.is_empty() {
        lines.push("  none: the node trusts no other node".to_owned());
    }
    lines.push(format!(
        "denylist of {}: keys that the node refuses",
        lists.node
    ));
    lines.extend(
        lists
            .denylist
            .iter()
            .flat_map(|entry| key_lines(entry, names)),
    );
    if lists.denylist.is_empty() {
        lines.push("  none".to_owned());
    }
    lines
}

fn root_lines(entry: &Entry, names: &KnownNames) -> Vec<String> {
    let any = |list: &Option<Vec<String>>| {
        list.as_ref()
            .map_or_else(|| "any".to_owned(), |list| list.join(", "))
    };
    let mut lines = key_lines(entry, names);
    let mut limits = format!(
        "    usages {}; topics {}; {}",
        any(&entry.usages),
        any(&entry.topics),
        match &entry.expires {
            Some(end) => format!("until {end}"),
            None => "without end".to_owned(),
        }
    );
    if let Some(left) = entry.path_length {
        limits.push_str(&format!(
            "; path length: at most {left} further certificates"
        ));
    }
    lines.push(limits);
    if let Some(reason) = entry.ignored {
        lines.push(format!("    IGNORED: {reason}"));
    }
    lines
}

fn key_lines(entry: &Entry, names: &KnownNames) -> Vec<String> {
    let Entry {
        name,
        key_type,
        fingerprint,
        key,
        ..
    } = entry;
    vec![
        match names.get(fingerprint) {
            Some(node) => format!("  {fingerprint} (type {key_type}, {name}), a key of {node}"),
            None => format!("  {fingerprint} (type {key_type}, {name})"),
        },
        format!("    key {key}"),
    ]
}

/// Adds keys to the list of a stopped node.
///
/// # Errors
/// [`CliError`] if the node is running, if the list already has an entry for one of the keys, or if one of the keys is
/// not allowed on the list. No key is added then.
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
    let entries = new_entries(list, &keys, topics, &scheme)?;
    let known = trust(&files, &config)?;
    let (node, list_name) = (config.node_id(), list.name());
    for key in &keys {
        let fingerprint = key.fingerprint();
        if known.lists(list, key) {
            let what = format!("{fingerprint} was not added to the {list_name} of {node}");
            return Err(refused(what, &UpdateError::Present));
        }
        if list == TrustList::Allow && known.lists(TrustList::Deny, key) {
            ui.note(format!(
                "note: {fingerprint} is also on the denylist of {node}, and the denylist has priority; `kc trust deny \
                 --remove` removes the key from the denylist"
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

/// Removes each entry that has exactly one key, if this key is one of the given keys. Entries with several keys stay.
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
        let message = format!("the {list_name} of {node} has no single-key entry for {keys}");
        return Err(CliError::failure(message).advise(format!(
            "`kc trust list --node {node}` shows the entries of the list"
        )));
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
            "note: {node} has no root of trust, so it trusts no other node"
        ));
    }
    Ok(())
}

/// Returns the files and the configuration of a node, with a store that holds the node's lock.
fn open(node: &str) -> Result<(NodeFiles, NodeConfig, FileConfigStore), CliError> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    let store = FileConfigStore::new(Arc::new(NodeLock::acquire(&files)?));
    Ok((files, store.migrated(NodeRole::Node)?, store))
}
