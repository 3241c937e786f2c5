//! The results of provisioning, as the cases record them.

use std::collections::BTreeMap;

use kc_core::chain::{Demand, TrustEntry, TrustStore, UnverifiedChain};
use kc_core::provision::ProvisionedNode;
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::Section;
use kc_core::types::Timestamp;

use crate::nodes::{CA_FILE, binary_entries};
use crate::operation::{Invalid, Outcome, refuse};
use crate::values::{Hex, Typed, hex_list, unpack};

output! {
    struct Provisioned {
        files: Files, placeholder: Option<String>, allowlist: BTreeMap<String, Hex>,
        chains_checked: BTreeMap<String, Checked>, escrow_value: Option<Hex>,
        pub(super) to_sign: Option<Hex>,
    }
    #[derive(Default)]
    struct Files {
        pub(super) config: Option<String>, pub(super) crypto: Option<Hex>,
        pub(super) seed: Option<Hex>,
    }
    struct Checked { max_age: Typed, poison_decoded: Typed, key: CheckedKey, links: Vec<Hex> }
    struct CheckedKey { bytes: Hex, version: u8 }
}

impl Provisioned {
    /// Returns the files, and the identities that they prove.
    pub(super) fn new(node: &ProvisionedNode, now: Timestamp) -> Outcome<Self> {
        let allowlist = binary_entries(&node.config, Section::ALLOWLIST)?;
        let entries = allowlist.iter().map(|(_, entry)| TrustEntry::parse(entry));
        let entries = entries.collect::<Result<_, _>>().map_err(refuse)?;
        // In the peers, a classical root stays in force beside its hybrid root.
        let trust = TrustStore::new(Some(entries), Vec::new()).allow_classical_root(true);
        let mut chains_checked = BTreeMap::new();
        for (name, chain) in binary_entries(&node.config, Section::CHAINS)? {
            chains_checked.insert(name, Checked::new(&chain, &trust, now)?);
        }
        let secrets = node.secrets.as_ref().map(NodeSecrets::encode);
        let seed = node.seed.as_ref().map(Seed::encode);
        Ok(Self {
            files: Files {
                config: Some(node.config.render().as_str().to_owned()),
                crypto: secrets.map(|secrets| secrets.expose().into()),
                seed: seed.map(|seed| seed.expose().into()),
            },
            placeholder: Some(CA_FILE.to_owned()),
            allowlist: allowlist
                .into_iter()
                .map(|(name, entry)| (name, Hex(entry)))
                .collect(),
            chains_checked,
            escrow_value: node.escrow.as_ref().map(Hex::from),
            to_sign: None,
        })
    }
}

impl Checked {
    fn new(chain: &[u8], trust: &TrustStore, now: Timestamp) -> Outcome<Self> {
        let chain = UnverifiedChain::parse(chain).map_err(refuse)?;
        let valid = chain.validate(trust, &Demand::at(now)).map_err(refuse)?;
        let key = valid.keys().signer();
        let key = key.ok_or_else(|| Invalid::new("a node's chain ends with no signing key"))?;
        Ok(Self {
            max_age: valid.max_age().into(),
            poison_decoded: Typed::from(&unpack(&valid.constraints().encode())?),
            key: CheckedKey {
                bytes: key.to_bytes().into(),
                version: key.key_type().version(),
            },
            links: hex_list(chain.links()),
        })
    }
}
