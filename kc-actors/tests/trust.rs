//! Chain validation with changing lists.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::time::Duration;

use actix::SyncArbiter;
use kc_actors::chain::{
    AskTrust, ChainActor, ChainParts, ChainRole, ManagementRecord, ManagementRecords,
    OwnIdentities, ValidateChain,
};
use kc_actors::{Clock, Events, NodeEvent};
use kc_core::chain::{ChainError, MaxAge, TrustEntry, TrustList, TrustStore, Usage};
use kc_core::keys::{KeyType, Signer, SigningKey};
use kc_core::provision::{NewNode, Role, compose_update, provision_node};
use kc_core::store::config::{Section, Value};
use kc_core::store::{StoreError, StoreErrorKind, TrustArchive};
use kc_core::types::{ManagementTopic, TopicScheme};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// An archive on a full disk.
#[derive(Debug)]
struct Full;

impl TrustArchive for Full {
    fn add_entry(&mut self, _: TrustList, _: &TrustEntry) -> Result<(), StoreError> {
        Err(StoreError::new(StoreErrorKind::Io, "full"))
    }

    fn replace_chain(&mut self, _: usize, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::new(StoreErrorKind::Io, "full"))
    }
}

#[actix::test]
async fn a_denial_is_in_force_though_it_cannot_be_stored_and_is_taken_once() {
    let mut rng = StdRng::seed_from_u64(1);
    let root = kc_core::provision::derive_root(b"root", KeyType::Ed25519)
        .unwrap()
        .key;
    let now = Clock::system().now();
    let scheme = TopicScheme::default();
    let node = NewNode {
        lifetime: Some(Duration::from_secs(3600)),
        ..NewNode::new("n", Role::Consumer, &scheme)
    };
    let node = provision_node(&node, b"root", b"provisioning", now, &mut rng).unwrap();
    let Some(Value::Bytes(chain)) = node.config.load_value(Section::CHAINS, "chain0").unwrap()
    else {
        panic!("no chain");
    };
    let secrets = node.secrets.unwrap();
    let denied = secrets.signing_keys().next().unwrap();
    let denied: &SigningKey = denied;

    let trusted = TrustEntry::unrestricted(root.verifying_key());
    let events = Events::default();
    let mut told = events.listen();
    let actor = ChainActor::new(ChainParts {
        trust: TrustStore::new(Some(vec![trusted]), vec![]),
        identities: vec![],
        archive: Box::new(Full),
        clock: Clock::system(),
        events,
    });
    let chain_role = ChainRole::to(&SyncArbiter::start(1, move || actor.clone()));
    let validate = || ValidateChain {
        chain: chain.clone(),
        root_topic: "t".into(),
        usage: Usage::EncryptRequest,
    };
    let validated = chain_role.validate.send(validate()).await;
    assert!(validated.unwrap().is_ok());

    let entry = TrustEntry::unrestricted(denied.verifying_key());
    let until = MaxAge::until(now.plus(Duration::from_secs(60)));
    let by_root = (&root as &dyn Signer, None);
    let update = compose_update(TrustList::Deny, &entry, until, by_root, &mut rng).unwrap();
    let record = ManagementRecord {
        topic: ManagementTopic::Denylist,
        kafka_key: Vec::new(),
        value: update,
    };
    let records = &chain_role.records;
    let taken = records.send(ManagementRecords(vec![record.clone()])).await;
    taken.unwrap();
    assert!(matches!(told.next().await, Some(NodeEvent::Listed { .. })));
    let validated = chain_role.validate.send(validate()).await;
    assert_eq!(validated.unwrap(), Err(ChainError::Denied));

    // At the next start the record is read again.
    let again = records.send(ManagementRecords(vec![record])).await;
    again.unwrap();
    let status = chain_role.status.send(AskTrust).await.unwrap();
    assert_eq!((status.denied, status.refused.len()), (1, 0));
    let own = chain_role.identities.send(OwnIdentities).await;
    assert!(own.unwrap().is_err(), "a node without keys has no identity");
}
