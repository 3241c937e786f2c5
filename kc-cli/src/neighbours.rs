//! Other nodes whose files are on this host. kc reads the files to find mistyped passwords, and to print the ids of
//! nodes beside the fingerprints of their keys.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kc::core::keys::{Signer, VerifyingKey};
use kc::core::own_chains::OwnChains;
use kc::core::provision::{Provisioner, derive_provisioner, provisioner_of};
use kc::core::store::config::NodeConfig;
use kc::keystore_file::{NodeFiles, SearchPlaces, list_nodes, read_config};

use crate::args::Password;
use crate::error::{CliError, Exit};
use crate::status::trust;

/// A node whose files are in the same folder as the files of a node that is being made or certified.
struct Neighbour {
    config: NodeConfig,
    /// The path of the node's configuration, for messages.
    path: String,
    roots: Vec<VerifyingKey>,
}

/// The nodes of a folder; nodes that cannot be read are left out.
pub(crate) struct Neighbours(Vec<Neighbour>);

impl Neighbours {
    /// Reads the nodes in `folder`. The node with the files `first` comes first, if it exists.
    pub(crate) fn read(folder: &Path, first: &NodeFiles) -> Self {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let mut nodes: Vec<_> = paths
            .iter()
            .filter_map(|path| NodeFiles::beside(path).ok())
            .collect();
        nodes.sort_by_key(|files| files != first);
        Self(nodes.iter().filter_map(Neighbour::read).collect())
    }

    /// Checks that one of the nodes trusts `root`, or the root of the other key type from the same password. If the
    /// folder has no node with a root, the check succeeds.
    ///
    /// # Errors
    /// [`Exit::Refused`] if all nodes trust other roots.
    pub(crate) fn check_root(&self, root: &VerifyingKey) -> Result<(), CliError> {
        let mut others = self
            .0
            .iter()
            .filter(|node| !node.roots.is_empty())
            .peekable();
        let Some(other) = others.peek() else {
            return Ok(());
        };
        let (id, path) = (other.config.node_id().to_owned(), other.path.clone());
        let theirs: Vec<_> = other.roots.iter().map(VerifyingKey::fingerprint).collect();
        if others.any(|node| node.trusts(root)) {
            return Ok(());
        }
        let message = format!(
            "wrong root password? The password or --root-public gives root of trust {}, but node {id} \
             ({path}) trusts {}",
            root.fingerprint(),
            theirs.join(", ")
        );
        Err(CliError::new(Exit::Refused, message).advise(format!(
            "give the password or the public key of the root that {id} trusts. If the password of {id} was mistyped, \
             provision {id} again with --force --new-root. To make a node with another root of trust, which exchanges \
             no data keys with {id}, add --new-root"
        )))
    }

    /// Checks that at least one node under `root` was certified with the provisioning password `password`. If the
    /// folder has no node that a provisioner certified under `root`, the check succeeds.
    ///
    /// # Errors
    /// [`Exit::Refused`] if `password` gives none of the provisioners that certified nodes under `root`.
    pub(crate) fn check_provisioner(
        &self,
        password: &Password,
        root: &VerifyingKey,
    ) -> Result<(), CliError> {
        let mut derived: Vec<(Provisioner, VerifyingKey)> = Vec::new();
        let mut different = None;
        for node in &self.0 {
            for (by, key) in node.provisioners(root) {
                if !derived.iter().any(|(known, _)| *known == by) {
                    let own = derive_provisioner(password, by, root, root.key_type())?;
                    derived.push((by, own.key.verifying_key().clone()));
                }
                if derived.contains(&(by, key)) {
                    return Ok(());
                }
                different.get_or_insert(node);
            }
        }
        let Some(other) = different else {
            return Ok(());
        };
        let (id, path) = (other.config.node_id(), &other.path);
        let message =
            format!("wrong provisioning password? Another password certified node {id} ({path})");
        Err(CliError::new(Exit::Refused, message).advise(format!(
            "give the provisioning password with which {id} was certified; or add --new-provisioner to certify \
             with another password. There are then two provisioners: to deny all nodes, deny both"
        )))
    }
}

impl Neighbour {
    fn read(files: &NodeFiles) -> Option<Self> {
        let config = read_config(files).ok()?;
        let trust = trust(files, &config).ok()?;
        Some(Self {
            path: files.config().display().to_string(),
            roots: trust.roots().map(|(root, _)| root.clone()).collect(),
            config,
        })
    }

    /// Returns whether the node trusts `root`, or the root of the other key type from the same password.
    fn trusts(&self, root: &VerifyingKey) -> bool {
        let mut roots = self.roots.iter();
        roots.any(|known| known.ed25519() == root.ed25519())
    }

    /// Returns the provisioners that certified the node under `root`.
    fn provisioners(&self, root: &VerifyingKey) -> Vec<(Provisioner, VerifyingKey)> {
        let chains = OwnChains::load(&self.config).ok();
        let chains = chains.iter().flat_map(OwnChains::iter);
        chains
            .filter_map(|chain| provisioner_of(&chain.bytes, root))
            .collect()
    }
}

/// The largest number of nodes whose configurations are read for [`KnownNames`].
const MAX_NODES: usize = 1000;

/// The ids of nodes, by the fingerprints of the keys that the nodes' chains certify.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownNames(HashMap<String, String>);

impl KnownNames {
    /// Reads the configurations of all nodes that `--node ID` can find, and of the nodes in the folder of `files`, but
    /// of at most [`MAX_NODES`] nodes. Takes no lock. Files that cannot be read are left out.
    pub(crate) fn near(files: Option<&NodeFiles>) -> Self {
        let mut places = SearchPlaces::from_environment();
        let mut nodes = list_nodes(&places);
        if let Some(files) = files {
            places.working = files.folder().to_owned();
            places.home = None;
            nodes.extend(list_nodes(&places));
        }
        let mut names = HashMap::new();
        for node in nodes.iter().take(MAX_NODES) {
            let Ok(config) = read_config(node) else {
                continue;
            };
            let Ok(chains) = OwnChains::load(&config) else {
                continue;
            };
            for key in chains.iter().filter_map(|chain| chain.key.as_ref()) {
                let name = names.entry(key.fingerprint());
                name.or_insert_with(|| config.node_id().to_owned());
            }
        }
        Self(names)
    }

    /// Returns the id of the node whose key has this fingerprint.
    pub(crate) fn get(&self, fingerprint: &str) -> Option<&str> {
        self.0.get(fingerprint).map(String::as_str)
    }

    /// Returns the fingerprint of a key, with the id of its node if the node is known: `0123456789abcdef (alice)`.
    pub(crate) fn of(&self, key: &VerifyingKey) -> String {
        self.of_fingerprint(&key.fingerprint())
    }

    /// Returns a fingerprint, with the id of the key's node if the node is known.
    pub(crate) fn of_fingerprint(&self, fingerprint: &str) -> String {
        match self.get(fingerprint) {
            Some(name) => format!("{fingerprint} ({name})"),
            None => fingerprint.to_owned(),
        }
    }
}
