//! `kc chain issue`.

use std::str::FromStr;
use std::time::Duration;

use kc::Clock;
use kc::core::chain::{
    Certificate, ChainError, Constraints, Demand, MaxAge, TrustEntry, TrustList, UnverifiedChain,
};
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::own_chains::OwnChain;
use kc::core::provision::{Grant, IssuedChain, Role, issue_chain};
use kc::core::store::config::Section;
use kc::core::types::{Timestamp, TopicScheme};
use kc::keystore_file::{NodeFiles, system_rng};

use super::install::StoredChain;
use crate::args::{
    Given, GrantArgs, ProvisioningPasswordArg, RootPasswordArg, base64, duration, key_type,
    node_or_environment,
};
use crate::error::{CliError, Exit};
use crate::neighbours::Neighbours;
use crate::stored::{StoppedNode, StoredNode};
use crate::ui::Ui;

/// Issue a new chain for a node's key, with both passwords
///
/// The command renews a node's chain, or certifies a key that was added with `kc node keys --add-key-type`. The new
/// chain grants what the node's present chain grants; --role, --topics and --pathlen replace parts of this grant.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("whose").args(["node", "for"])))]
pub(crate) struct Args {
    /// The node; without --print, it must not be running [default: $KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    /// The type of the key to certify: 1 is Ed25519; 4 adds SLH-DSA [default: the type of
    /// the node's first key]
    #[arg(long, value_name = "1|4", value_parser = key_type, help_heading = "Node")]
    key_type: Option<KeyType>,

    /// Print the chain in base64, and store nothing
    #[arg(long, help_heading = "Node")]
    print: bool,

    /// Print a chain for this public key, which belongs to a node on another computer; `kc chain install` stores the
    /// chain there
    #[arg(
        long,
        value_name = "FILE|BASE64|-",
        requires = "role",
        conflicts_with = "key_type",
        help_heading = "Node"
    )]
    r#for: Option<Given>,

    /// Make the node trust the root of this password, too, if it trusts only other roots
    #[arg(long, help_heading = "Node")]
    new_root: bool,

    /// Certify the node with a provisioning password that differs from the password of the other nodes in the folder
    #[arg(long, help_heading = "Node")]
    new_provisioner: bool,

    /// The role that the chain grants [default: the role of the node's chain]
    #[arg(long, value_parser = Role::from_str, help_heading = "Certificate")]
    role: Option<Role>,

    #[command(flatten)]
    grant: GrantArgs,

    /// The time for which the chain is valid [default: ten years; for a chain server or administrator
    /// one year]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Certificate")]
    lifetime: Option<Duration>,

    #[command(flatten)]
    root_password: RootPasswordArg,

    #[command(flatten)]
    password: ProvisioningPasswordArg,

    /// Print the result as JSON
    #[arg(long, conflicts_with_all = ["print", "for"], help_heading = "Output")]
    json: bool,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let now = Clock::system().now();
    if let (Some(key), Some(role)) = (&args.r#for, args.role) {
        let constraints = args.grant.constraints(role, &TopicScheme::default())?;
        let issued = args.issue(&key.verifying_key()?, role, constraints, (None, now))?;
        return ui.result(base64(issued.chain));
    }
    let name = node_or_environment(args.node.as_deref())?;
    if args.print {
        let (_, _, issued) = args.issue_for(&StoredNode::read(&name)?, now)?;
        return ui.result(base64(issued.chain));
    }
    let node = StoppedNode::open(&name)?;
    let (index, key, issued) = args.issue_for(&node.stored, now)?;
    let end = validated_end(&node.stored, &issued, now)?;
    let is_new = is_new_root(&node.stored, &issued.root, args.new_root)?;
    node.store_chain(index, &issued.chain, is_new.then_some(&issued.root))?;
    let stored = StoredChain {
        index,
        key: &key,
        end,
        new_root: is_new.then_some(&issued.root),
    };
    stored.report(args.json, ui)?;
    if is_new {
        warn_of_classical(&node.stored, &issued.root, ui);
    }
    Ok(())
}

impl Args {
    /// Issues a chain for the node's key. Returns the index of the key, the key, and the chain.
    fn issue_for(
        &self,
        node: &StoredNode,
        now: Timestamp,
    ) -> Result<(usize, VerifyingKey, IssuedChain), CliError> {
        let (index, key) = self.choose_key(node)?;
        let (role, constraints) = self.choose_grant(node, index, &key)?;
        let issued = self.issue(&key, role, constraints, (Some(&node.files), now))?;
        Ok((index, key, issued))
    }

    fn issue(
        &self,
        key: &VerifyingKey,
        role: Role,
        constraints: Constraints,
        (files, now): (Option<&NodeFiles>, Timestamp),
    ) -> Result<IssuedChain, CliError> {
        let lifetime = self.lifetime.unwrap_or(role.default_lifetime());
        let grant = Grant {
            role,
            constraints,
            expires: MaxAge::until(now.plus(lifetime)),
        };
        let (root, password) = (self.root_password.read()?, self.password.read_for(role)?);
        let rng = &mut system_rng()?;
        let issued = issue_chain(key, &grant, &root, &password, now, rng)?;
        if let Some(files) = files.filter(|_| !self.new_provisioner && !password.is_empty()) {
            let neighbours = Neighbours::read(files.folder(), files);
            neighbours.check_provisioner(&password, &issued.root)?;
        }
        Ok(issued)
    }

    fn choose_key(&self, node: &StoredNode) -> Result<(usize, VerifyingKey), CliError> {
        let mut keys = node.keys()?.into_iter().enumerate();
        let wanted = |key: &VerifyingKey| {
            let wanted = self.key_type;
            wanted.is_none_or(|wanted| key.key_type() == wanted)
        };
        keys.find(|(_, key)| wanted(key)).ok_or_else(|| {
            let of_type = self.key_type.map(|key_type| format!(" of type {}", key_type.version()));
            let of_type = of_type.unwrap_or_default();
            CliError::usage(format!("the node uses no signing key{of_type}"))
                .advise("`kc node keys` shows the keys of the node, and its option --add-key-type adds a key")
        })
    }

    /// Returns the role and the constraints of the new chain. A role or topics that the arguments do not give are taken
    /// from the node's present chain. A path length that they do not give is taken from this chain if the role stays
    /// the same; otherwise it follows from the role.
    fn choose_grant(
        &self,
        node: &StoredNode,
        index: usize,
        key: &VerifyingKey,
    ) -> Result<(Role, Constraints), CliError> {
        let before = granted_before(node, index, key)?;
        let stored_role = before.as_ref().and_then(|before| role_of(node, before));
        let role = self.role.or(stored_role).ok_or_else(|| {
            CliError::usage("no role is given, and no chain of the node has the usages of a role")
                .advise("add --role ROLE")
        })?;
        let mut constraints = self.grant.constraints(role, &node.settings.scheme())?;
        if let Some(before) = before {
            if self.grant.topics.is_empty() {
                constraints.topics = before.topics;
            }
            if self.grant.pathlen.is_none() && stored_role == Some(role) {
                constraints.path_length = before.path_length;
            }
        }
        Ok((role, constraints))
    }
}

/// Returns the constraints of the last certificate in the key's chain. If the key has no chain, takes the
/// constraints from another chain of the node. Returns `None` if the node has no chain that can be read.
pub(in crate::commands) fn granted_before(
    node: &StoredNode,
    index: usize,
    key: &VerifyingKey,
) -> Result<Option<Constraints>, CliError> {
    let chains = node.chains()?;
    let of_key = chains.of_key(index, key).into_iter();
    let last = |chain: &OwnChain| {
        let chain = UnverifiedChain::parse(&chain.bytes).ok()?;
        let last = Certificate::parse_signed(chain.links().last()?).ok()?;
        last.restrictions.evaluate().ok()
    };
    Ok(of_key.chain(chains.iter()).find_map(last))
}

/// Returns the role with these usages. A chain server has the same usages as a `prodcon-limited` node, but only a chain
/// server has a list of keys in its configuration. Returns `None` if no role of the node can have these usages.
pub(in crate::commands) fn role_of(node: &StoredNode, granted: &Constraints) -> Option<Role> {
    let config = &node.config;
    let section = Section::CHAIN_KEYS.name(config.node_id());
    let is_server = config.document().has_section(&section);
    let granted = granted.usages.as_ref()?;
    let same = |role: &Role| {
        let usages = role.usages().iter().map(|usage| usage.as_str());
        usages.eq(granted.iter().map(String::as_str)) && (*role == Role::ChainServer) == is_server
    };
    Role::ALL.into_iter().find(same)
}

/// Validates the chain as if the node had the root on its allowlist already. Returns the time at which the chain ends,
/// or `None` if the chain has no end.
fn validated_end(
    node: &StoredNode,
    issued: &IssuedChain,
    now: Timestamp,
) -> Result<Option<Timestamp>, CliError> {
    let mut trust = node.trust.clone();
    if !trust.lists(TrustList::Allow, &issued.root) {
        let root = TrustEntry::unrestricted(&issued.root);
        trust.add(TrustList::Allow, root);
    }
    let proven = UnverifiedChain::parse(&issued.chain)
        .and_then(|chain| chain.validate(&trust, &Demand::at(now)))
        .map_err(|error| {
            let refused = CliError::refused("the node would refuse the chain", &error);
            match error {
                ChainError::UnknownRoot if trust.is_half_of_a_denied_hybrid(&issued.root) => refused
                    .advise(
                        "the root is the classical half of a hybrid key that is on the denylist: use another root",
                    ),
                ChainError::UnknownRoot => refused.advise(
                    "the node ignores this classical root, because it trusts the hybrid root of the same password: \
                     issue with --key-type 4, or set `allow_classical_root : true` in the node's section of its .config",
                ),
                _ => refused,
            }
        })?;
    Ok(proven.max_age().timestamp())
}

/// Returns true if the node does not trust `root` yet, and false if `root` is on its allowlist.
///
/// Two roots are related if they have the same Ed25519 key: one password gives a root of type 1 and a root of type 4.
/// If the node trusts other roots, and none of them is related to `root`, the password may be mistyped. In this case,
/// `root` is accepted only if `meant` is true (`--new-root`).
///
/// # Errors
/// [`Exit::Refused`] if the node trusts other roots, none of them is related to `root`, and `meant` is false.
fn is_new_root(node: &StoredNode, root: &VerifyingKey, meant: bool) -> Result<bool, CliError> {
    let trust = &node.trust;
    if trust.lists(TrustList::Allow, root) {
        return Ok(false);
    }
    let mut roots = trust.roots().map(|(root, _)| root).peekable();
    let related = roots.peek().is_none() || roots.any(|known| known.ed25519() == root.ed25519());
    if related || meant {
        return Ok(true);
    }
    let message = format!(
        "wrong root password? This password gives root of trust {}, which the node does not trust",
        root.fingerprint()
    );
    Err(CliError::new(Exit::Refused, message)
        .advise("type the root password again; --new-root makes the node trust this root, too"))
}

/// Warns if the node ignores a root of type 1 from now on, because the root of type 4 of the same password was added.
fn warn_of_classical(node: &StoredNode, root: &VerifyingKey, ui: Ui) {
    let mut trust = node.trust.clone();
    trust.add(TrustList::Allow, TrustEntry::unrestricted(root));
    let stays = |known: &VerifyingKey| trust.roots().any(|(root, _)| root == known);
    let mut roots = node.trust.roots().map(|(root, _)| root);
    if let Some(classical) = roots.find(|known| !stays(known)) {
        ui.note(format!(
            "the node ignores the classical root of trust {} from now on, because the new root has the same Ed25519 \
             key: it refuses nodes that have only chains from the classical root. To keep the classical root in force \
             until all nodes are migrated, set `allow_classical_root : true` in the node's section of its .config",
            classical.fingerprint()
        ));
    }
}
