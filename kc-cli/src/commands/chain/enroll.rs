//! `kc chain enroll`.

use std::str::FromStr;
use std::sync::Arc;

use kc::Clock;
use kc::core::chain::{
    ANYTHING, ChainError, Constraints, Demand, MaxAge, TrustStore, UnverifiedChain, ValidatedChain,
    grants, intersect,
};
use kc::core::chain_server::ChainKey;
use kc::core::keys::VerifyingKey;
use kc::core::own_chains::OwnChains;
use kc::core::provision::Role;
use kc::keystore_file::{FileConfigStore, FileError, NodeLock};

use super::issue::{granted_before, role_of};
use crate::args::{Given, GrantArgs, base64, shown_duration};
use crate::error::CliError;
use crate::status::{Enrolled, Enrollment, enroll};
use crate::stored::StoredNode;
use crate::ui::Ui;
use crate::ui::until;

/// The smallest path length in the certificate of a chain server. Two further certificates follow: the certificate of a
/// node, and the certificate in which this node sends a request or reply.
const PATH_LENGTH: i64 = 2;

/// Let a chain server renew the chain of a key
///
/// The chain server may be running. If kc finds the node's files, the new chains grant what the node's own chain
/// grants; --role, --topics and --pathlen replace parts of this grant. A node accepts a new chain only if this chain
/// ends no earlier than the node's own chain. A chain server issues chains of seven days by default: provision its
/// nodes with --lifetime 7d, or shorten their chains with `kc chain issue --lifetime 7d`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The chain server
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    server: String,

    /// The node whose first key is enrolled, read from the node's files
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    of: Option<String>,

    /// The public key of a node whose files may be elsewhere; `kc node keys` shows the key
    #[arg(
        long,
        value_name = "FILE|BASE64|-",
        required_unless_present = "of",
        conflicts_with = "of",
        help_heading = "Node"
    )]
    key: Option<Given>,

    /// A name for the key, in lower case [default: the node's id in lower case]
    #[arg(long, help_heading = "Node")]
    name: Option<String>,

    /// Replace an existing entry with the same name
    #[arg(long, help_heading = "Node")]
    force: bool,

    /// The role that the new chains grant [default: the role of the node's chain]
    #[arg(long, value_parser = Role::from_str, help_heading = "Certificate")]
    role: Option<Role>,

    #[command(flatten)]
    grant: GrantArgs,
}

/// The key to be enrolled. If kc finds the files of its node, this includes the node and the grants of the node's
/// chain.
struct Candidate {
    key: VerifyingKey,
    node: Option<(StoredNode, Option<Constraints>)>,
}

/// Adds the key to the configuration of a chain server. A running chain server issues the first chain at once; a
/// stopped chain server issues it after its next start.
pub(super) async fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let candidate = args.candidate()?;
    let server = StoredNode::read(&args.server)?;
    let id = server.config.node_id();
    let name = args.name(&candidate)?;
    let role = args.role(&candidate)?;
    let constraints = args.constraints(&candidate, role, &server)?;
    require_grants(&server.chains()?, &server.trust, role, &constraints).map_err(|error| {
        CliError::refused(format!("{id} cannot certify a {role}"), &error).advise(
            "a chain server needs a valid chain of its own, and can grant only what this chain grants: by default the \
             roles producer, prodcon-limited and consumer-limited",
        )
    })?;
    let entry = ChainKey::due_at(Clock::system().now(), &candidate.key, &constraints);
    let enrollment = Enrollment {
        name: name.clone(),
        entry: base64(entry.encode()),
        replace: args.force,
    };
    let (enrolled, is_running) = store(&server, enrollment).await?;
    match enrolled {
        Enrolled::Stored => {}
        Enrolled::Exists => {
            return Err(
                CliError::failure(format!("{id} already has a key with the name {name}"))
                    .advise("choose another --name, or replace the key with --force"),
            );
        }
        Enrolled::Failed(reason) => {
            return Err(CliError::failure(format!(
                "{id} did not store the key: {reason}"
            )));
        }
    }
    let key = candidate.key.fingerprint();
    let topics = constraints.topics.unwrap_or_default().join(", ");
    ui.result(format!(
        "{id} renews the chain of key {key}, named {name}: role {role}, topics {topics}"
    ))?;
    if !is_running {
        ui.note(format!(
            "start the chain server, which issues and renews the chain: `kc chain-server --node {id}`"
        ));
    }
    candidate.warn_of_end(&server, ui);
    Ok(())
}

/// Stores the entry in the configuration of the chain server. If the chain server is running, its process stores the
/// entry. Returns the result, and whether the chain server is running.
async fn store(server: &StoredNode, enrollment: Enrollment) -> Result<(Enrolled, bool), CliError> {
    match NodeLock::acquire(&server.files) {
        Ok(lock) => {
            let store = FileConfigStore::new(Arc::new(lock));
            Ok((enrollment.store(&store)?, false))
        }
        Err(in_use @ FileError::InUse { .. }) => match enroll(&server.files, enrollment).await? {
            Some(enrolled) => Ok((enrolled, true)),
            None => Err(in_use.into()),
        },
        Err(error) => Err(error.into()),
    }
}

impl Args {
    fn candidate(&self) -> Result<Candidate, CliError> {
        if let Some(name) = &self.of {
            let node = StoredNode::read(name)?;
            let key = node.keys()?.into_iter().next();
            let no_key = || CliError::failure(format!("node {name} has no signing key"));
            let key = key.ok_or_else(no_key)?;
            return Candidate::new(key, Some(node));
        }
        let given = self
            .key
            .as_ref()
            .ok_or_else(|| CliError::usage("no key is given"))?;
        let key = given.verifying_key()?;
        let node = StoredNode::with_chain_of(&key);
        Candidate::new(key, node)
    }

    fn name(&self, candidate: &Candidate) -> Result<String, CliError> {
        let of_node = candidate.node.as_ref();
        let of_node = of_node.map(|(node, _)| node.config.node_id().to_lowercase());
        self.name.clone().or(of_node).ok_or_else(|| {
            CliError::usage("no name is given for the key").advise("add --name NAME")
        })
    }

    fn role(&self, candidate: &Candidate) -> Result<Role, CliError> {
        let of_node = candidate.node.as_ref();
        let of_node = of_node.and_then(|(node, held)| role_of(node, held.as_ref()?));
        self.role.or(of_node).ok_or_else(|| {
            CliError::usage("no role is given for the new chains").advise("add --role ROLE")
        })
    }

    /// Returns the constraints of the new chains. Topics that the arguments do not give are taken from the node's own
    /// chain. A path length that they do not give is taken from this chain if the role stays the same; otherwise it
    /// follows from the role.
    fn constraints(
        &self,
        candidate: &Candidate,
        role: Role,
        server: &StoredNode,
    ) -> Result<Constraints, CliError> {
        let mut constraints = self.grant.constraints(role, &server.settings.scheme())?;
        let held = candidate.node.as_ref();
        let held = held.and_then(|(_, held)| held.as_ref());
        if self.grant.topics.is_empty() {
            let topics = held.and_then(|held| held.topics.clone());
            let unknown = || {
                CliError::usage(
                    "no topics are given, and kc finds no chain of this key that names topics",
                )
                .advise(format!(
                    "name the topics with --topics; --topics '{ANYTHING}' grants all topics"
                ))
            };
            constraints.topics = Some(topics.ok_or_else(unknown)?);
        }
        let node = candidate.node.as_ref().map(|(node, _)| node);
        if self.grant.pathlen.is_none()
            && let (Some(node), Some(held)) = (node, held)
            && role_of(node, held) == Some(role)
        {
            constraints.path_length = held.path_length;
        }
        Ok(constraints)
    }
}

impl Candidate {
    fn new(key: VerifyingKey, node: Option<StoredNode>) -> Result<Self, CliError> {
        let with_grant = |node: StoredNode| {
            let keys = node.keys().unwrap_or_default();
            let index = keys.iter().position(|known| *known == key);
            let held = granted_before(&node, index.unwrap_or_default(), &key)?;
            Ok::<_, CliError>((node, held))
        };
        let node = node.map(with_grant).transpose()?;
        Ok(Self { key, node })
    }

    /// Warns if the node will refuse the new chains, because they end before the node's own chain.
    fn warn_of_end(&self, server: &StoredNode, ui: Ui) {
        let lifetime = server.settings.renewal_policy().lifetime;
        let shown = shown_duration(lifetime);
        let Some((node, _)) = &self.node else {
            ui.note(format!(
                "the new chains are valid for {shown}; a node refuses a new chain that ends before its own chain (check \
                 M05)"
            ));
            return;
        };
        let id = node.config.node_id();
        let end = MaxAge::until(Clock::system().now().plus(lifetime));
        let demand = Demand::at(Clock::system().now());
        let chains = node.chains().ok();
        let own = chains.iter().flat_map(OwnChains::iter);
        let own = own.filter(|chain| chain.key.as_ref() == Some(&self.key));
        let proven = own.filter_map(|chain| {
            let chain = UnverifiedChain::parse(&chain.bytes).ok()?;
            chain.validate(&node.trust, &demand).ok()
        });
        let mut longer = proven
            .map(|proven| proven.max_age())
            .filter(|own| end.is_before(*own));
        if let Some(own) = longer.next() {
            ui.say(format!(
                "warning: node {id} will refuse the new chains (check M05): they are valid for {shown}, but its own \
                 chain is valid {}. Shorten its own chain: `kc chain issue --node {id} --lifetime {}`",
                until(own.timestamp()),
                shown.to_string().replace(' ', "")
            ));
        }
    }
}

/// Checks that the chain server has a chain that allows it to issue chains with this role and these constraints.
fn require_grants(
    chains: &OwnChains,
    trust: &TrustStore,
    role: Role,
    wanted: &Constraints,
) -> Result<(), ChainError> {
    let demand = Demand::at(Clock::system().now());
    let mut result = Err(ChainError::NoChain);
    for chain in chains.iter() {
        let chain = UnverifiedChain::parse(&chain.bytes);
        let proven = chain.and_then(|chain| chain.validate(trust, &demand));
        result = proven.and_then(|proven| passes_on(&proven, role, wanted));
        if result.is_ok() {
            break;
        }
    }
    result
}

fn passes_on(proven: &ValidatedChain, role: Role, wanted: &Constraints) -> Result<(), ChainError> {
    let own = proven.constraints();
    for usage in role.usages() {
        if !grants(own.usages.as_deref(), Some(usage.as_str()))? {
            return Err(ChainError::Usage(usage.as_str().to_owned()));
        }
    }
    let wanted = wanted.topics.clone();
    if intersect(own.topics.clone(), wanted.clone())? != wanted {
        let topics = wanted.unwrap_or_default();
        return Err(ChainError::Topic(topics.join(", ")));
    }
    match own.path_length {
        Some(length) if length < PATH_LENGTH => Err(ChainError::PathLength),
        _ => Ok(()),
    }
}
