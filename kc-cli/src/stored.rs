//! A node as its files describe it, and changes to the files of a stopped node.

use std::sync::Arc;

use kc::actors::NodeSettings;
use kc::core::chain::{TrustEntry, TrustStore};
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::own_chains::{OwnChains, store_chain};
use kc::core::store::config::{ConfigError, ConfigStore, NodeConfig, Section, Value};
use kc::keystore_file::{
    FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node, key_types, list_nodes,
    read_config,
};
use kc::maintenance::StoredKeys;

use crate::error::CliError;
use crate::status::{node_settings, trust};

/// The content of a node's files, read without a lock.
#[derive(Debug)]
pub(crate) struct StoredNode {
    pub(crate) files: NodeFiles,
    pub(crate) config: NodeConfig,
    pub(crate) settings: NodeSettings,
    pub(crate) trust: TrustStore,
}

/// A node that is locked, so that no other process has it open and its files may be changed.
#[derive(Debug)]
pub(crate) struct StoppedNode {
    pub(crate) stored: StoredNode,
    lock: Arc<NodeLock>,
}

impl StoredNode {
    pub(crate) fn read(node: &str) -> Result<Self, CliError> {
        Self::of_files(find_node(node, &SearchPlaces::from_environment())?)
    }

    /// Returns the first node in the current folder or in `KC_HOME` that has a chain for this key.
    pub(crate) fn with_chain_of(key: &VerifyingKey) -> Option<Self> {
        let nodes = list_nodes(&SearchPlaces::from_environment()).into_iter();
        let mut nodes = nodes.filter_map(|files| Self::of_files(files).ok());
        nodes.find(|node| {
            let chains = node.chains().ok();
            let mut chains = chains.iter().flat_map(OwnChains::iter);
            chains.any(|chain| chain.key.as_ref() == Some(key))
        })
    }

    pub(crate) fn of_files(files: NodeFiles) -> Result<Self, CliError> {
        let config = read_config(&files)?;
        Ok(Self {
            settings: node_settings(&files, &config)?,
            trust: trust(&files, &config)?,
            files,
            config,
        })
    }

    /// Returns the keys that the node's files describe, including keys that are not in use.
    pub(crate) fn stored_keys(&self) -> Result<StoredKeys, CliError> {
        Ok(StoredKeys::of(&self.config, &self.files)?)
    }

    /// Returns the chains in the node's configuration, not validated.
    pub(crate) fn chains(&self) -> Result<OwnChains, CliError> {
        Ok(OwnChains::load(&self.config)?)
    }

    /// Returns the signing keys that the node uses, in the order in which the node's files hold them.
    pub(crate) fn keys(&self) -> Result<Vec<VerifyingKey>, CliError> {
        let types = self.key_types()?;
        let mut keys = self.stored_keys()?.signing;
        keys.retain(|key| is_used(types.as_deref(), key));
        Ok(keys)
    }

    /// Returns the types of the signing keys that the node uses; `None` if the node uses keys of all types.
    pub(crate) fn key_types(&self) -> Result<Option<Vec<KeyType>>, CliError> {
        Ok(key_types(&self.config)?)
    }
}

/// Returns whether a node with these key types uses `key`.
pub(crate) fn is_used(types: Option<&[KeyType]>, key: &VerifyingKey) -> bool {
    types.is_none_or(|types| types.contains(&key.key_type()))
}

impl StoppedNode {
    pub(crate) fn open(node: &str) -> Result<Self, CliError> {
        let files = find_node(node, &SearchPlaces::from_environment())?;
        let lock = Arc::new(NodeLock::acquire(&files)?);
        Ok(Self {
            stored: StoredNode::of_files(files)?,
            lock,
        })
    }

    /// Stores `chain` for the signing key at the position `index` among all signing keys of the node. If `new_root` is
    /// given, adds this root to the allowlist.
    pub(crate) fn store_chain(
        &self,
        index: usize,
        chain: &[u8],
        new_root: Option<&VerifyingKey>,
    ) -> Result<(), CliError> {
        self.update(&mut |config| {
            store_chain(config, index, chain)?;
            match new_root {
                Some(root) => add_root(config, root),
                None => Ok(()),
            }
        })
    }

    /// Changes the node's configuration.
    pub(crate) fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<(), CliError> {
        FileConfigStore::new(Arc::clone(&self.lock)).update(edit)?;
        Ok(())
    }
}

/// Adds a root to the allowlist, under the first free name `rot<n>`.
fn add_root(config: &mut NodeConfig, root: &VerifyingKey) -> Result<(), ConfigError> {
    let entry = TrustEntry::unrestricted(root);
    let mut name = "rot0".to_owned();
    for number in 1_u32.. {
        if config
            .load_value(Section::ALLOWLIST, name.as_str())?
            .is_none()
        {
            break;
        }
        name = format!("rot{number}");
    }
    config.set(
        Section::ALLOWLIST,
        name.as_str(),
        &Value::from(entry.as_bytes()),
    )?;
    Ok(())
}
