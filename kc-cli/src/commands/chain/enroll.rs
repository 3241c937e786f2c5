use std::str::FromStr;

use kc::Clock;
use kc::core::chain::{
    ChainError, Constraints, Demand, TrustStore, UnverifiedChain, ValidatedChain, grants, intersect,
};
use kc::core::chain_server::ChainKey;
use kc::core::own_chains::OwnChains;
use kc::core::provision::Role;
use kc::core::store::config::{Name, Section, Value};

use crate::args::{Given, GrantArgs};
use crate::error::CliError;
use crate::stored::StoppedNode;
use crate::ui::Ui;

/// How many certificates have to follow a chain server's: a node's, and its request or reply.
const PATH_LENGTH: i64 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The chain server
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    server: String,

    /// A name for the key, in lower case; usually the node's id
    #[arg(long, help_heading = "Node")]
    name: String,

    /// The public key; `kc node keys` shows it
    #[arg(long, value_name = "FILE|BASE64|-", help_heading = "Node")]
    key: Given,

    /// Replace the entry of this name
    #[arg(long, help_heading = "Node")]
    force: bool,

    /// The role that the chains grant
    #[arg(long, value_parser = Role::from_str, help_heading = "Certificate")]
    role: Role,

    #[command(flatten)]
    grant: GrantArgs,
}

/// Adds the key to the configuration of a chain server that is not running; its first chain is due at once.
pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let key = args.key.verifying_key()?;
    let server = StoppedNode::open(&args.server)?;
    let id = server.stored.config.node_id().to_owned();
    let scheme = server.stored.settings.scheme();
    let constraints = args.grant.constraints(args.role, &scheme)?;
    let chains = server.stored.chains()?;
    let trust = &server.stored.trust;
    require_grants(&chains, trust, args.role, &constraints).map_err(|error| {
        CliError::refused(format!("{id} cannot certify a {}", args.role), &error).advise(
            "a chain server passes on what its own chain grants: by default to producer, prodcon-limited \
             and consumer-limited",
        )
    })?;
    let name = Name::from(args.name.as_str());
    let known = server.stored.config.own_settings(Section::CHAIN_KEYS)?;
    if !args.force && known.iter().any(|setting| setting.name == name) {
        return Err(
            CliError::failure(format!("{id} has a key named {} already", args.name))
                .advise("choose another --name, or replace it with --force"),
        );
    }
    let entry = ChainKey::due_at(Clock::system().now(), &key, &constraints);
    let value = Value::Bytes(entry.encode());
    server.update(&mut |config| config.set(Section::CHAIN_KEYS, &name, &value).map(drop))?;
    let key = key.fingerprint();
    ui.result(format!(
        "{id} keeps the chain of key {key} fresh, as {}",
        args.name
    ))?;
    ui.note(format!(
        "`kc chain-server --node {id}` issues and renews it"
    ));
    Ok(())
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
