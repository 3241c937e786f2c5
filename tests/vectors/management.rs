use kc_core::chain::{Identity, TrustEntry, TrustList, TrustStore, UpdateError, accept_chain};
use kc_core::exchange::RefusalId;
use kc_core::keys::{Signer, SigningKey};
use kc_core::store::config::Name;
use kc_core::types::Timestamp;
use serde::Deserialize;

use crate::load::Case;
use crate::nodes::{List, chains, identities, repacked, trust};
use crate::operation::{Context, Invalid, Outcome, Run, Stop, invalid};
use crate::values::{Hex, hex_list};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "list_update" => case.run(ListUpdate::run),
        "replace_chain" => case.run(ReplaceChain::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

fn reason(error: &UpdateError) -> String {
    format!("{}: {error}", RefusalId::from(error))
}

input! {
    struct ListUpdate {
        list: ListName, allowlist: List, denylist: List, messages: Vec<Option<Hex>>,
        time: Option<f64>,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListName {
    Allowlist,
    Denylist,
}

output! {
    struct Updated {
        #[serde(default)]
        returned: Vec<Option<Hex>>,
        config_entry_name: Option<String>, allowlist_after: List, denylist_after: Vec<Hex>,
    }
}

impl ListUpdate {
    /// Applies the messages in order. The last message decides whether the case is accepted.
    fn run(&self, case: &Context) -> Outcome<Updated, Updated> {
        let list = match self.list {
            ListName::Allowlist => TrustList::Allow,
            ListName::Denylist => TrustList::Deny,
        };
        let now = case.now(self.time)?;
        let mut trust = trust(&self.allowlist, &self.denylist).map_err(invalid("lists"))?;
        let (mut returned, mut config_entry_name, mut refusal) = (Vec::new(), None, None);
        for message in &self.messages {
            let message = message.as_deref().unwrap_or_default();
            match list.judge(message, &trust, now) {
                Ok(entry) => {
                    returned.push(Some(entry.as_bytes().into()));
                    config_entry_name = Some(Name::of_entry(entry.as_bytes()).to_string());
                    trust.add(list, entry);
                    refusal = None;
                }
                Err(error) => {
                    returned.push(None);
                    refusal = Some(reason(&error));
                }
            }
        }
        let entries = |list: &[TrustEntry]| hex_list(list.iter().map(TrustEntry::as_bytes));
        let updated = Updated {
            returned,
            config_entry_name,
            allowlist_after: trust.allowlist().map(entries),
            denylist_after: entries(trust.denylist()),
        };
        match refusal {
            None => Ok(updated),
            Some(why) => Err(Stop::Refused(updated, why)),
        }
    }
}

input! {
    struct ReplaceChain {
        secret_keys: Vec<Hex>, chains: Vec<Option<Hex>>, allowlist: List, denylist: List,
        message: Option<Hex>, time: Option<f64>,
    }
}

output! {
    struct Replaced { before: Vec<KeyChain>, after: Vec<KeyChain> }
    struct KeyChain { public: Hex, chain: Option<Hex>, direct_requests: bool }
}

impl ReplaceChain {
    fn run(&self, case: &Context) -> Outcome<Replaced, Replaced> {
        let now = case.now(self.time)?;
        let trust = trust(&self.allowlist, &self.denylist).map_err(invalid("lists"))?;
        let key = |key: &Hex| Ok(SigningKey::from_bytes(key)?.verifying_key().clone());
        let keys = self.secret_keys.iter().map(key);
        let keys = keys.collect::<Result<Vec<_>, kc_core::keys::KeyError>>();
        let keys = keys.map_err(invalid("secret_keys"))?;
        let mut identities = identities(keys.iter(), &chains(&self.chains));

        let before = describe(&identities, &trust, now)?;
        let replaced = match &self.message {
            Some(chain) => replace(&mut identities, chain, &trust, now),
            None => Err("there is no chain".to_owned()),
        };
        let after = describe(&identities, &trust, now)?;
        let state = Replaced { before, after };
        match replaced {
            Ok(()) => Ok(state),
            Err(why) => Err(Stop::Refused(state, why)),
        }
    }
}

/// Replaces the chain of the key that the new chain certifies.
fn replace(
    identities: &mut [Identity],
    chain: &[u8],
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(), String> {
    let mut refusal = UpdateError::OtherKey;
    for identity in identities {
        match accept_chain(identity.key(), identity.chain(), chain, trust, now) {
            Ok(()) => {
                *identity = Identity::new(identity.key().clone(), Some(chain.to_vec()));
                return Ok(());
            }
            Err(error) => refusal = error,
        }
        if refusal != UpdateError::OtherKey {
            break;
        }
    }
    Err(reason(&refusal))
}

/// Returns each key with its chain, and whether requests under the chain also go to producers.
///
/// Without a chain, the reference would ask all nodes, under the temporary root. A node of kc then asks no node, so
/// there is no [`ValidIdentity`](kc_core::chain::ValidIdentity) with this value.
fn describe(
    identities: &[Identity],
    trust: &TrustStore,
    now: Timestamp,
) -> Result<Vec<KeyChain>, Invalid> {
    let describe = |identity: &Identity| {
        let valid = identity.validated(trust, now);
        Ok(KeyChain {
            public: identity.key().to_bytes().into(),
            chain: identity.chain().map(repacked).transpose()?,
            direct_requests: identity.chain().is_none()
                || valid.is_ok_and(|valid| valid.may_request()),
        })
    };
    identities.iter().map(describe).collect()
}
