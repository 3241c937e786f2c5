//! `kc chain install` and `kc chain publish`: these commands store a chain that was issued elsewhere, or send it to a
//! running node.

use kc::Clock;
use kc::core::chain::{ChainError, Check, Demand, UnverifiedChain};
use kc::core::keys::VerifyingKey;
use kc::core::types::{ManagementTopic, Timestamp};
use serde_json::json;

use super::inspect::as_chain;
use crate::args::{ConnectionArgs, Given, NodeArg, read_bytes};
use crate::error::{CliError, Exit};
use crate::publish::{Update, publish};
use crate::status::trust_of;
use crate::stored::StoppedNode;
use crate::ui::Ui;
use crate::ui::until;

#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    node: NodeArg,

    /// The signed certificate that `kc chain sign` printed, or a whole chain; - is stdin
    #[arg(value_name = "FILE|BASE64|-")]
    signed: Given,

    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Validates a certificate or chain under the node's allowlist and denylist, and stores the chain for the certified
/// key.
pub(super) fn install(args: &InstallArgs, ui: Ui) -> Result<(), CliError> {
    let signed = args.signed.bytes("the signed certificate")?;
    let not_stored = |error: ChainError| {
        CliError::refused("the chain was not stored", &error).advise(
            "check that the right root signed the chain, and that the chain is unaltered and has not expired; \
             `kc chain inspect` shows its content",
        )
    };
    let chain = as_chain(signed).map_err(not_stored)?;
    let node = StoppedNode::open(&args.node.node)?;
    let demand = Demand::at(Clock::system().now());
    let proven = UnverifiedChain::parse(&chain)
        .and_then(|chain| chain.validate(&node.stored.trust, &demand))
        .map_err(not_stored)?;
    let keys = node.stored.keys()?;
    let mut of_node = keys.iter().enumerate();
    let certified = of_node.find(|(_, key)| proven.keys().signer() == Some(key));
    let Some((index, key)) = certified else {
        let id = node.stored.config.node_id();
        return Err(CliError::new(
            Exit::Refused,
            format!(
                "the chain was not stored: it certifies no signing key of node {id} (check M04)"
            ),
        )
        .advise(
            "compare the keys: `kc node keys` shows the keys of the node, and `kc chain inspect` shows the key of the \
             chain",
        ));
    };
    node.store_chain(index, &chain, None)?;
    let stored = StoredChain {
        index,
        key,
        end: proven.max_age().timestamp(),
        new_root: None,
    };
    stored.report(args.json, ui)
}

/// Send a new chain to a running node
///
/// The node whose key the chain certifies adopts the chain, if the chain ends no earlier than the node's present chain.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The chain, in base64, or a file that holds it; - is stdin
    #[arg(value_name = "FILE|BASE64|-")]
    chain: String,

    /// A node whose configuration names the broker, and whose allowlist and denylist must accept the chain before it is
    /// sent. The node may be running
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn send(args: &PublishArgs, ui: Ui) -> Result<(), CliError> {
    let message = read_bytes("the chain", &args.chain)?;
    let node = args.node.as_deref();
    let connection = args.connection.connect_management(node, ui)?;
    let key = certified_key(&message, node)?;
    let fingerprint = key.fingerprint();
    let update = [Update { key, message }];
    let topic = publish(&connection, ManagementTopic::Chains, &update).await?;
    ui.result(format!("chain of key {fingerprint} sent to topic {topic}"))
}

/// Returns the key that a chain certifies. If a node is given, validates the chain under the lists of this node. If no
/// node is given, validates nothing, and returns the key that the chain claims to certify.
fn certified_key(chain: &[u8], node: Option<&str>) -> Result<VerifyingKey, CliError> {
    let parsed = UnverifiedChain::parse(chain);
    let trust = node.map(trust_of).transpose()?;
    let key = parsed.and_then(|chain| match &trust {
        Some(trust) => {
            let proven = chain.validate(trust, &Demand::at(Clock::system().now()))?;
            let key = proven.keys().signer().cloned();
            let last = chain.links().len().saturating_sub(1);
            key.ok_or(ChainError::NotASigner(last))
        }
        None => chain.claimed_key(),
    });
    key.map_err(|refusal| {
        CliError::refused("the chain was not sent", &refusal).advise(advice_on(&refusal))
    })
}

fn advice_on(refusal: &ChainError) -> &'static str {
    match refusal.check() {
        Check::Allowlist => {
            "the node of --node trusts no root: provision it, or add a root to its allowlist with `kc trust allow`"
        }
        Check::Root => "issue the chain again, under a root that the nodes trust",
        Check::Denylist => {
            "a key of the chain was denied on purpose: the nodes refuse every chain with this key"
        }
        Check::Expiry => "issue the chain again with a longer --lifetime",
        Check::Pattern | Check::PathLength | Check::Topic | Check::Usage => {
            "issue the chain again: one of its certificates does not permit what the chain needs; `kc chain inspect` \
             shows its content"
        }
        _ => {
            "the chain is damaged or incomplete: copy it again without changes, as it was printed; if this does not \
             help, issue it again"
        }
    }
}

/// A chain that was stored in a node's configuration.
pub(super) struct StoredChain<'a> {
    pub(super) index: usize,
    pub(super) key: &'a VerifyingKey,
    pub(super) end: Option<Timestamp>,
    /// The root of trust that was added with the chain.
    pub(super) new_root: Option<&'a VerifyingKey>,
}

impl StoredChain<'_> {
    pub(super) fn report(&self, as_json: bool, ui: Ui) -> Result<(), CliError> {
        let (name, key) = (format!("chain{}", self.index), self.key.fingerprint());
        let new_root = self.new_root.map(VerifyingKey::fingerprint);
        if as_json {
            let expires = self.end.map(|end| end.to_string());
            let result = json!({
                "chain": name,
                "key": key,
                "expires": expires,
                "new_root": new_root,
            });
            return ui.result(result.to_string());
        }
        ui.result(format!(
            "{name} certifies key {key}, valid {}",
            until(self.end)
        ))?;
        match new_root {
            Some(root) => ui.result(format!("root of trust {root} was added to the allowlist")),
            None => Ok(()),
        }
    }
}
