//! `kc node keys`.

use kc::Clock;
use kc::core::chain::{ChainError, Demand, TrustStore, UnverifiedChain, ValidatedChain};
use kc::core::exchange::RequestForm;
use kc::core::kem::Suite;
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::own_chains::OwnChain;
use kc::core::types::Timestamp;
use kc::maintenance::{KeyChanges, change_keys};
use serde::Serialize;

use crate::args::{NodeArg, PinArg, key_type};
use crate::certificate::DescribedKey;
use crate::error::CliError;
use crate::pin;
use crate::stored::{StoredNode, is_used};
use crate::ui::Ui;
use crate::ui::until;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// Offer and accept only these key exchanges, the preferred one first: 5 is X25519 with ML-KEM-1024, 2 is
    /// X25519 with Streamlined NTRU Prime, 1 is X25519 alone
    #[arg(
        long,
        value_name = "5,2,1",
        value_delimiter = ',',
        value_parser = suite,
        help_heading = "Changes"
    )]
    exchange: Vec<Suite>,

    /// Add a signing key of this type, if the node has no key of this type; the other keys stay
    #[arg(long, value_name = "1|4", value_parser = key_type, help_heading = "Changes")]
    add_key_type: Option<KeyType>,

    /// Send requests also in the form of old peers; this has an effect only if 1 is the only key exchange that the
    /// node offers
    #[arg(long, value_name = "on|off", value_parser = on_or_off, help_heading = "Changes")]
    legacy_requests: Option<bool>,

    #[command(flatten)]
    pin: PinArg,

    /// Print the keys as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Makes the changes that the arguments ask for, and shows the keys.
pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let changes = KeyChanges {
        suites: args.exchange.clone(),
        legacy_requests: args.legacy_requests,
        key_type: args.add_key_type,
    };
    let changed = !changes.suites.is_empty()
        || changes.legacy_requests.is_some()
        || changes.key_type.is_some();
    let drawn = changed
        && pin::with(args.pin.file(), |pin| {
            change_keys(&args.node.node, &changes, pin)
        })?;
    let node = StoredNode::read(&args.node.node)?;
    if let Some(key_type) = args.add_key_type {
        note_on_chain(&node, key_type, drawn, ui)?;
    }
    let report = Report::new(&node)?;
    if args.json {
        let json = serde_json::to_string(&report).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    ui.result(report.lines().join("\n"))
}

/// Prints whether a key of this type was added, and what the user must still do so that the node uses the key.
fn note_on_chain(
    node: &StoredNode,
    key_type: KeyType,
    drawn: bool,
    ui: Ui,
) -> Result<(), CliError> {
    let version = key_type.version();
    if drawn {
        let id = node.config.node_id();
        ui.note(format!(
            "the new key of type {version} has no certificate chain yet: `kc chain issue --node {id} --key-type \
             {version}` issues one, and `kc chain install` stores one that was issued elsewhere"
        ));
    } else {
        ui.note(format!("the node already has a key of type {version}"));
    }
    if node.keys()?.iter().all(|key| key.key_type() != key_type) {
        ui.note(format!(
            "the node does not use keys of type {version}: add {version} to `keytypes` in its .config"
        ));
    }
    Ok(())
}

fn suite(text: &str) -> Result<Suite, String> {
    let suite = text.trim().parse().ok().and_then(Suite::from_version);
    suite.ok_or_else(|| "expected the key exchange 5, 2 or 1".to_owned())
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// The JSON of `kc node keys`.
#[derive(Debug, Serialize)]
struct Report {
    node: String,
    keys: Vec<Key>,
    /// The numbers of the key exchanges that the node offers and accepts, the preferred one first.
    exchanges: Vec<u8>,
    /// True if the configuration asks for legacy requests.
    legacy_requests: bool,
    /// True if legacy requests are sent: the configuration asks for them, and no hybrid key exchange is offered.
    legacy_requests_sent: bool,
}

#[derive(Debug, Serialize)]
struct Key {
    #[serde(flatten)]
    key: DescribedKey,
    /// True if the node uses the key, according to `keytypes`.
    used: bool,
    /// True if a stored chain certifies the key now.
    certified: bool,
    /// The time at which the certifying chain expires, as ISO 8601 in UTC; null if the chain does not expire, or if no
    /// chain certifies the key.
    expires: Option<String>,
    /// The reason why no chain certifies the key; null if a chain certifies the key.
    problem: Option<Problem>,
    #[serde(skip)]
    state: String,
}

#[derive(Debug, Serialize)]
struct Problem {
    check: Option<String>,
    reason: String,
}

impl Report {
    fn new(node: &StoredNode) -> Result<Self, CliError> {
        let (stored, chains) = (node.stored_keys()?, node.chains()?);
        let types = node.key_types()?;
        let now = Clock::system().now();
        let key = |(position, key): (usize, &VerifyingKey)| {
            let chain = certifying(&node.trust, &chains.of_key(position, key), now);
            Key::new(key, is_used(types.as_deref(), key), chain)
        };
        Ok(Self {
            node: node.config.node_id().to_owned(),
            keys: stored.signing.iter().enumerate().map(key).collect(),
            legacy_requests: stored.legacy_requests,
            legacy_requests_sent: stored.legacy_requests
                && RequestForm::legacy_is_safe_beside(&stored.suites),
            exchanges: stored.suites.into_iter().map(Suite::version).collect(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("node {}", self.node)];
        for Key {
            key, used, state, ..
        } in &self.keys
        {
            let name = key.fingerprint.as_deref().unwrap_or_default();
            let unused = if *used {
                ""
            } else {
                " (not used, because `keytypes` does not list its type)"
            };
            lines.push(format!(
                "signing key {name} of type {}{unused}: {state}",
                key.version
            ));
            lines.push(format!("  public {}", key.public));
        }
        let exchanges: Vec<_> = self.exchanges.iter().map(u8::to_string).collect();
        lines.push(format!(
            "key exchanges, the preferred one first: {}",
            exchanges.join(", ")
        ));
        let legacy = match (self.legacy_requests, self.legacy_requests_sent) {
            (false, _) => "off",
            (true, true) => "on",
            (true, false) => {
                "set, but NOT SENT because the node offers a hybrid key exchange (2 or 5)"
            }
        };
        lines.push(format!("requests in the form of old peers: {legacy}"));
        lines
    }
}

impl Key {
    /// Describes a key. `chain` is the result of validating the key's chain; `None` if the key has no chain.
    fn new(
        key: &VerifyingKey,
        used: bool,
        chain: Option<Result<ValidatedChain, ChainError>>,
    ) -> Self {
        let (end, problem) = match chain {
            Some(Ok(chain)) => (chain.max_age().timestamp(), None),
            Some(Err(error)) => (
                None,
                Some(Problem {
                    check: Some(error.check().to_string()),
                    reason: error.to_string(),
                }),
            ),
            None => (
                None,
                Some(Problem {
                    check: None,
                    reason: "the key has no certificate chain".to_owned(),
                }),
            ),
        };
        let state = match &problem {
            None => format!("certified {}", until(end)),
            Some(Problem { check, reason }) => {
                let check = check.iter().map(|check| format!(" ({check})"));
                format!("NOT CERTIFIED: {reason}{}", check.collect::<String>())
            }
        };
        Self {
            key: DescribedKey::signing(key),
            used,
            certified: problem.is_none(),
            expires: end.map(|end| end.to_string()),
            problem,
            state,
        }
    }
}

/// Validates the chains of a key. Returns the first valid chain. If no chain is valid, returns the refusal of the last
/// chain. Returns `None` if the key has no chain.
fn certifying(
    trust: &TrustStore,
    chains: &[&OwnChain],
    now: Timestamp,
) -> Option<Result<ValidatedChain, ChainError>> {
    let validate = |chain: &OwnChain| {
        let chain = UnverifiedChain::parse(&chain.bytes)?;
        chain.validate(trust, &Demand::at(now))
    };
    let mut found = None;
    for chain in chains {
        let validated = validate(chain);
        let valid = validated.is_ok();
        found = Some(validated);
        if valid {
            break;
        }
    }
    found
}
