//! Nodes in memory that are composed by hand.
#![allow(dead_code, reason = "no test uses all of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, SyncArbiter, SyncContext};
use kc_actors::chain::{ChainActor, ChainParts, ChainRole};
use kc_actors::exchange::ExchangeParts;
use kc_actors::gateway::GatewayRole;
use kc_actors::key_table::KeyTableRole;
use kc_actors::keystore::{KeystoreActor, KeystoreRole};
use kc_actors::ratchet::{RatchetActor, RatchetParts, RatchetRole};
use kc_actors::{Clock, Entropy, Events};
use kc_core::chain::{Identity, TrustEntry, TrustList, TrustStore};
use kc_core::exchange::{ExchangeConfig, Validity};
use kc_core::kem::Suite;
use kc_core::provision::{NewNode, ProvisionedNode, Role, provision_node};
use kc_core::ratchet::{KeyIdForm, RatchetConfig, RetainedKeys, Seed};
use kc_core::store::config::{Section, Value};
use kc_core::store::{
    KeyStore, MemoryKeyStore, MemoryRatchetStore, RetainedKeysArchive, StoreError, StoreErrorKind,
    TrustArchive,
};
use kc_core::types::TopicScheme;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// An archive that counts its calls, or fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    pub(crate) saved: Arc<Mutex<Vec<usize>>>,
    pub(crate) used: Arc<Mutex<Option<u64>>>,
    pub(crate) broken: bool,
}

impl RetainedKeysArchive for Archive {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::new(StoreErrorKind::Io, "archive"));
        }
        self.saved.lock().unwrap().push(keys.len());
        *self.used.lock().unwrap() = used;
        Ok(())
    }
}

/// An archive that drops all changes.
#[derive(Debug)]
struct Forgetful;

impl TrustArchive for Forgetful {
    fn add_entry(&mut self, _: TrustList, _: &TrustEntry) -> Result<(), StoreError> {
        Ok(())
    }

    fn replace_chain(&mut self, _: usize, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The roles of a node that need no broker.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) chain: ChainRole,
    pub(crate) keystore: KeystoreRole,
    pub(crate) ratchet: RatchetRole,
}

impl Own {
    /// Returns a provisioned node with everything in memory.
    pub(crate) fn provisioned(role: Role, root: &str, archive: Archive) -> Self {
        let node = provisioned(role, root);
        let keystore = Arc::new(MemoryKeyStore::new(
            node.secrets.unwrap(),
            None,
            Box::new(|| Ok(Box::new(rng()) as _)),
        ));
        let bytes = |section, name: &str| match node.config.load_value(section, name) {
            Ok(Some(Value::Bytes(bytes))) => bytes,
            other => panic!("{name}: {other:?}"),
        };
        let root = TrustEntry::parse(&bytes(Section::ALLOWLIST, "rot0")).unwrap();
        let chain = bytes(Section::CHAINS, "chain0");
        let keys = keystore.verifying_keys();
        let identity = Identity::new(keys.first().unwrap().clone(), Some(chain));
        let trust = TrustStore::new(Some(vec![root]), vec![]);

        let chain = start(ChainActor::new(ChainParts {
            trust,
            identities: vec![identity],
            archive: Box::new(Forgetful),
            clock: Clock::system(),
            events: Events::default(),
        }));
        let ratchet = start(RatchetActor::new(RatchetParts {
            store: Some(Box::new(MemoryRatchetStore::new(node.seed.unwrap()))),
            archive: Some(Box::new(archive)),
            retained: RetainedKeys::default(),
            used: None,
            config: RatchetConfig {
                form: KeyIdForm::long(&keys),
                ..ratchet_config()
            },
            clock: Clock::system(),
            entropy: Entropy::system(),
        }));
        Self {
            chain: ChainRole::to(&chain),
            keystore: KeystoreRole::to(&start(KeystoreActor::new(keystore))),
            ratchet: RatchetRole::to(&ratchet),
        }
    }
}

impl Own {
    /// Returns the parts of an exchange of this node, without a gateway and a key table.
    pub(crate) fn exchange(&self) -> ExchangeParts {
        ExchangeParts {
            config: ExchangeConfig {
                suites: vec![Suite::X25519],
                legacy: false,
                validity: Validity::default(),
                interval: Duration::from_secs(60),
            },
            chain: self.chain.clone(),
            keystore: self.keystore.clone(),
            ratchet: self.ratchet.clone(),
            gateway: GatewayRole::default(),
            key_table: KeyTableRole::default(),
            custody: None,
            clock: Clock::system(),
            entropy: Entropy::system(),
            events: Events::default(),
        }
    }
}

/// Returns the configuration with short key ids and the defaults of the protocol.
fn ratchet_config() -> RatchetConfig {
    RatchetConfig {
        form: KeyIdForm::Short,
        interval: Duration::from_secs(86_400),
        max_age: Duration::from_secs(604_800),
    }
}

/// Returns a ratchet in memory with short key ids.
pub(crate) fn ratchet(seed: Seed, retained: RetainedKeys, archive: Archive) -> RatchetActor {
    let used = *archive.used.lock().unwrap();
    RatchetActor::new(RatchetParts {
        store: Some(Box::new(MemoryRatchetStore::new(seed))),
        retained,
        used,
        archive: Some(Box::new(archive)),
        config: ratchet_config(),
        clock: Clock::system(),
        entropy: Entropy::system(),
    })
}

/// Starts an actor on a thread of its own.
pub(crate) fn start<A>(actor: A) -> actix::Addr<A>
where
    A: Actor<Context = SyncContext<A>> + Clone + Send + Sync,
{
    SyncArbiter::start(1, move || actor.clone())
}

pub(crate) fn rng() -> StdRng {
    StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap()
}

fn provisioned(role: Role, root: &str) -> ProvisionedNode {
    let scheme = TopicScheme::default();
    let node = NewNode {
        lifetime: Some(Duration::from_secs(3600)),
        ..NewNode::new("n", role, &scheme)
    };
    let now = Clock::system().now();
    provision_node(&node, root.as_bytes(), b"provisioning", now, &mut rng()).unwrap()
}
