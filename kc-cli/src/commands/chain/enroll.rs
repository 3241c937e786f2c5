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
use crate::args::{Given, GrantArgs, base64};
use crate::error::CliError;
use crate::status::{Enrolled, Enrollment, enroll};
use crate::stored::StoredNode;
use crate::ui::Ui;
use crate::ui::until;

/// How many certificates have to follow a chain server's: a node's, and its request or reply.
const PATH_LENGTH: i64 = 2;

/// Have a chain server keep the chain of a key fresh
///
/// The chain server may be running. What is not given stays as in the node's own chain, if the node's files are here.
/// A node takes a new chain only if that ends no earlier than its own: for a chain server that issues chains of seven
/// days, provision its nodes with --lifetime 7d, or shorten what they have by `kc chain issue --lifetime 7d`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The chain server
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    server: String,

    /// The node whose first key it is, by its files
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    of: Option<String>,

    /// The public key, of a node whose files may be elsewhere; `kc node keys` shows it
    #[arg(
        long,
        value_name = "FILE|BASE64|-",
        required_unless_present = "of",
        conflicts_with = "of",
        help_heading = "Node"
    )]
    key: Option<Given>,

    /// A name for the key, in lower case [default: the node's id]
    #[arg(long, help_heading = "Node")]
    name: Option<String>,

    /// Replace the entry of this name
    #[arg(long, help_heading = "Node")]
    force: bool,

    /// The role that the chains grant [default: that of the node's chain]
    #[arg(long, value_parser = Role::from_str, help_heading = "Certificate")]
    role: Option<Role>,

    #[command(flatten)]
    grant: GrantArgs,
}

/// The key to be enrolled, and what its node holds, if the node's files are here.
struct Candidate {
    key: VerifyingKey,
    node: Option<(StoredNode, Option<Constraints>)>,
}

/// Adds the key to the configuration of a chain server; its first chain is due at once.
pub(super) async fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let candidate = args.candidate()?;
    let server = StoredNode::read(&args.server)?;
    let id = server.config.node_id();
    let name = args.name(&candidate)?;
    let role = args.role(&candidate)?;
    let constraints = args.constraints(&candidate, role, &server)?;
    require_grants(&server.chains()?, &server.trust, role, &constraints).map_err(|error| {
        CliError::refused(format!("{id} cannot certify a {role}"), &error).advise(
            "a chain server passes on what its own chain grants: by default to producer, prodcon-limited \
             and consumer-limited",
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
                CliError::failure(format!("{id} has a key named {name} already"))
                    .advise("choose another --name, or replace it with --force"),
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
        "{id} keeps the chain of key {key} fresh, as {name}: a {role} of topics {topics}"
    ))?;
    if !is_running {
        ui.note(format!(
            "`kc chain-server --node {id}` issues and renews it"
        ));
    }
    candidate.warn_of_end(&server, ui);
    Ok(())
}

/// Stores the entry: in the files of a server that does not run, else by the process that runs it. Returns whether there
/// is one.
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
            let key = key.ok_or_else(|| CliError::failure(format!("{name} has no signing key")))?;
            return Candidate::new(key, Some(node));
        }
        let given = self.key.as_ref().ok_or_else(|| CliError::usage("no key"))?;
        let key = given.verifying_key()?;
        let node = StoredNode::with_chain_of(&key);
        Candidate::new(key, node)
    }

    fn name(&self, candidate: &Candidate) -> Result<String, CliError> {
        let of_node = candidate.node.as_ref();
        let of_node = of_node.map(|(node, _)| node.config.node_id().to_lowercase());
        self.name
            .clone()
            .or(of_node)
            .ok_or_else(|| CliError::usage("no name for the key").advise("give it: --name NAME"))
    }

    fn role(&self, candidate: &Candidate) -> Result<Role, CliError> {
        let of_node = candidate.node.as_ref();
        let of_node = of_node.and_then(|(node, held)| role_of(node, held.as_ref()?));
        self.role.or(of_node).ok_or_else(|| {
            CliError::usage("no role for the key's chains").advise("give it: --role ROLE")
        })
    }

    /// What was given, and for the rest what the node holds.
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
                CliError::usage("no topics for the key's chains").advise(format!(
                    "the files of the key's node are not here: name its topics by --topics; --topics \
                     '{ANYTHING}' grants all"
                ))
            };
            constraints.topics = Some(topics.ok_or_else(unknown)?);
        }
        if self.grant.pathlen.is_none()
            && let Some(held) = held
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

    /// A node does not take a chain that ends before its own.
    fn warn_of_end(&self, server: &StoredNode, ui: Ui) {
        let lifetime = server.settings.renewal_policy().lifetime;
        let shown = humantime::format_duration(lifetime);
        let Some((node, _)) = &self.node else {
            ui.note(format!(
                "the chains are valid for {shown}; a node takes none that ends before its own (check M05)"
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
                "warning: {id} has a chain that is valid {}, and takes no chain that ends earlier (check M05), \
                 but this server issues chains for {shown}: shorten it by `kc chain issue --node {id} \
                 --lifetime {}`",
                until(own.timestamp()),
                shown.to_string().replace(' ', "")
            ));
        }
    }
}

/// Makes sure that one of the server's chains grants what it is to pass on.
fn require_grants(
    chains: &OwnChains,
    trust: &TrustStore,
    role: Role,
    wanted: &Constraints,
) -> Result<(), ChainError> {
    let demand = Demand::at(Clock::system().now());
    let mut result = Err(ChainError::Length(0));
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
