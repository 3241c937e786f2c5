//! The status of a node: from the process that has the node open, or from the node's files.

mod print;
mod report;
mod socket;

use kc::Clock;
use kc::actors::{NodeSettings, stored_trust};
use kc::core::chain::{ChainError, Demand, TrustStore, UnverifiedChain, Usage};
use kc::core::own_chains::OwnChains;
use kc::core::store::config::{NodeConfig, Section};
use kc::core::types::Timestamp;
use kc::keystore_file::{NodeFiles, NodeLock, SearchPlaces, Settings, find_node, read_config};

use self::report::{Chain, Problem};
use self::socket::ask;
use crate::error::CliError;

pub(crate) use print::lines;
pub(crate) use report::{Custody, InUse, Report, Running};
pub(crate) use socket::{Enrolled, Enrollment, Rotated, StatusServer, enroll, rotate};

/// Returns the status of a node: from the process that has the node open, or from the node's files. Takes no lock.
pub(crate) async fn look(files: &NodeFiles) -> Result<Report, CliError> {
    if let Some(report) = ask(files).await? {
        return Ok(report);
    }
    let holder = NodeLock::holder(files)?;
    Ok(Report {
        in_use: holder.map(InUse::from),
        ..read_files(files, &read_config(files)?)?
    })
}

/// Returns the status of a node as its configuration shows it. Takes no lock.
pub(crate) fn read_files(files: &NodeFiles, config: &NodeConfig) -> Result<Report, CliError> {
    let trust = trust(files, config)?;
    let now = Clock::system().now();
    let chains = OwnChains::load(config)?;
    Ok(Report {
        node: config.node_id().to_owned(),
        config: files.config(),
        running: None,
        in_use: None,
        roots: trust.roots().map(|(root, _)| root.fingerprint()).collect(),
        chains: chains
            .iter()
            .map(|chain| describe(&chain.bytes, &trust, now))
            .collect(),
    })
}

/// Checks that one of the chains in a node's configuration is valid and grants a usage. Does not check topics. If no
/// chain grants the usage, returns the refusal of the last chain, or [`ChainError::Usage`] if there is no chain.
pub(crate) fn granted(
    files: &NodeFiles,
    config: &NodeConfig,
    usage: Usage,
) -> Result<Result<(), ChainError>, CliError> {
    let trust = trust(files, config)?;
    let demand = Demand::at(Clock::system().now()).usage(usage);
    let mut granted = Err(ChainError::Usage(usage.as_str().to_owned()));
    for chain in OwnChains::load(config)?.iter() {
        let validated = UnverifiedChain::parse(&chain.bytes);
        granted = validated.and_then(|chain| chain.validate(&trust, &demand).map(drop));
        if granted.is_ok() {
            break;
        }
    }
    Ok(granted)
}

/// Reads the allowlist and the denylist of the node with this id or path. Takes no lock.
pub(crate) fn trust_of(node: &str) -> Result<TrustStore, CliError> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    trust(&files, &read_config(&files)?)
}

/// Returns the allowlist and the denylist in a node's configuration.
pub(crate) fn trust(files: &NodeFiles, config: &NodeConfig) -> Result<TrustStore, CliError> {
    Ok(stored_trust(config, &node_settings(files, config)?)?)
}

/// Returns a node's own settings. Settings in the environment override settings in the node's configuration.
pub(crate) fn node_settings(
    files: &NodeFiles,
    config: &NodeConfig,
) -> Result<NodeSettings, CliError> {
    let settings = Settings::new(config, &files.config()).environment(std::env::vars_os());
    Ok(settings.extract(Section::NODE)?)
}

fn describe(bytes: &[u8], trust: &TrustStore, now: Timestamp) -> Chain {
    let validate = |at| UnverifiedChain::parse(bytes)?.validate(trust, &Demand::at(at));
    let (validated, problem) = match validate(now) {
        // An expired chain is validated at an earlier time, to describe its content.
        Err(error @ ChainError::Expired { .. }) => (validate(Timestamp::EPOCH), Some(error)),
        Err(error) => (Err(error.clone()), Some(error)),
        valid => (valid, None),
    };
    let problem = problem.map(|error| Problem {
        check: error.check().to_string(),
        reason: error.to_string(),
    });
    let Ok(chain) = validated else {
        return Chain {
            problem,
            ..Chain::default()
        };
    };
    let constraints = chain.constraints();
    Chain {
        key: chain.keys().signer().map(|key| key.fingerprint()),
        usages: constraints.usages.clone(),
        topics: constraints.topics.clone(),
        expires: chain.max_age().timestamp().map(|end| end.to_string()),
        problem,
    }
}
