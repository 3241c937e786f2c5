use kc::Clock;
use kc::core::chain::{ChainError, Demand, TrustStore, UnverifiedChain, ValidatedChain};
use kc::core::exchange::RequestForm;
use kc::core::kem::Suite;
use kc::core::keys::VerifyingKey;
use kc::core::own_chains::OwnChain;
use kc::core::types::Timestamp;
use serde::Serialize;

use crate::certificate::DescribedKey;
use crate::date::{date, until};
use crate::error::CliError;
use crate::stored::{StoredNode, is_used};

/// The JSON of `kc node keys`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    node: String,
    keys: Vec<Key>,
    /// Versions of the key exchanges that are offered and accepted, in order.
    exchanges: Vec<u8>,
    /// Whether legacy requests are set.
    legacy_requests: bool,
    /// Whether they are sent: not beside hybrid key exchanges.
    legacy_requests_sent: bool,
}

#[derive(Debug, Serialize)]
struct Key {
    #[serde(flatten)]
    key: DescribedKey,
    /// Whether `keytypes` leaves it in use.
    used: bool,
    /// Whether a stored chain certifies it now.
    certified: bool,
    expires: Option<String>,
    /// Why no chain certifies it.
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
    pub(super) fn new(node: &StoredNode) -> Result<Self, CliError> {
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

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("node {}", self.node)];
        for Key {
            key, used, state, ..
        } in &self.keys
        {
            let name = key.fingerprint.as_deref().unwrap_or_default();
            let unused = if *used { "" } else { ", not used (keytypes)" };
            lines.push(format!(
                "signing key {name} of type {}{unused}: {state}",
                key.version
            ));
            lines.push(format!("  public {}", key.public));
        }
        let exchanges: Vec<_> = self.exchanges.iter().map(u8::to_string).collect();
        lines.push(format!(
            "key exchanges, the best first: {}",
            exchanges.join(", ")
        ));
        let legacy = match (self.legacy_requests, self.legacy_requests_sent) {
            (false, _) => "off",
            (true, true) => "on",
            (true, false) => "set, but NOT SENT beside hybrid key exchanges",
        };
        lines.push(format!("requests in the form of old peers: {legacy}"));
        lines
    }
}

impl Key {
    /// `chain` is what certifies it; none if there is no chain for it.
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
                    reason: "there is no chain for it".to_owned(),
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
            expires: end.map(date),
            problem,
            state,
        }
    }
}

/// What a key's chain proves: the first that is valid, else why the last is not.
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
