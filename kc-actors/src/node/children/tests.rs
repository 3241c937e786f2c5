use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Context, Handler, Message};
use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, BackendErrorKind, Capabilities, GroupConsumer, GroupStart,
    LogReader, Producer, Subscription,
};
use kc_core::chain::{ChainError, TrustEntry, TrustList, TrustStore, Usage, ValidatedChain};
use kc_core::exchange::{ExchangeConfig, Validity};
use kc_core::kem::Suite;
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::{KeyIdForm, RatchetConfig, RetainedKeys};
use kc_core::secret::SecretVec;
use kc_core::store::{KeyStore, StoreError, StoreErrorKind};
use kc_core::types::{ManagementTopics, TopicScheme};

use super::super::slots::Slots;
use super::super::thread::Threads;
use super::*;
use crate::actors::{
    ChainActor, ChainParts, ControllerActor, ExchangeActor, GatewayActor, KeyArchive,
    KeyTableActor, KeystoreActor, RatchetActor, RatchetParts, TrustArchive, Watched,
};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::handles::CryptoTables;
use crate::messages::{AskTrust, ValidateChain};
use crate::stores::StoreWatch;

/// Ends an actor as a fault would.
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

macro_rules! mortal {
    ($($actor:ty),+) => {
        $(impl Handler<Die> for $actor {
            type Result = ();

            fn handle(&mut self, _: Die, _: &mut Self::Context) {
                panic!("a fault");
            }
        })+
    };
}

mortal!(
    ChainActor,
    KeystoreActor,
    RatchetActor,
    KeyTableActor,
    ExchangeActor,
    ControllerActor,
    GatewayActor
);

/// An actor of somebody's own.
struct Own;

impl Actor for Own {
    type Context = Context<Self>;
}

impl Handler<ValidateChain> for Own {
    type Result = Result<ValidatedChain, ChainError>;

    fn handle(&mut self, _: ValidateChain, _: &mut Self::Context) -> Self::Result {
        Err(ChainError::Denied)
    }
}

/// Everything that a node is plugged into, and none of it works.
#[derive(Debug)]
pub(in crate::node) struct Nothing;

impl TrustArchive for Nothing {
    fn add_entry(&mut self, _: TrustList, _: &TrustEntry) -> Result<(), StoreError> {
        Err(no_store())
    }

    fn replace_chain(&mut self, _: usize, _: &[u8]) -> Result<(), StoreError> {
        Err(no_store())
    }
}

impl KeyArchive for Nothing {
    fn save(&mut self, _: &RetainedKeys, _: Option<u64>) -> Result<(), StoreError> {
        Err(no_store())
    }
}

impl KeyStore for Nothing {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        Vec::new()
    }

    fn sign(&self, _: &VerifyingKey, _: &[u8]) -> Result<Vec<u8>, StoreError> {
        Err(no_store())
    }

    fn wrap_opaque(&self, _: &[u8]) -> Result<Vec<u8>, StoreError> {
        Err(no_store())
    }

    fn unwrap_opaque(&self, _: &[u8]) -> Result<SecretVec, StoreError> {
        Err(no_store())
    }

    fn suites(&self) -> Vec<Suite> {
        Vec::new()
    }

    fn legacy_requests(&self) -> bool {
        false
    }
}

#[async_trait]
impl Backend for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::MINIMAL
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        Err(no_broker())
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        Err(no_broker())
    }

    async fn log_reader(&self, _: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        Err(no_broker())
    }

    async fn group_consumer(
        &self,
        _: &str,
        _: &Subscription,
        _: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        Err(no_broker())
    }
}

fn no_store() -> StoreError {
    StoreError::new(StoreErrorKind::Io, "nothing")
}

fn no_broker() -> BackendError {
    BackendError::new(BackendErrorKind::Unreachable, "nothing")
}

/// A controller that is plugged into nothing.
pub(in crate::node) fn parts() -> SupervisorParts {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    SupervisorParts {
        slots: Slots::unconnected(),
        backend: Arc::new(Nothing),
        group: "group".into(),
        management: ManagementTopics::default(),
        chain: ChainActor::new(ChainParts {
            trust: TrustStore::new(None, vec![]),
            identities: vec![],
            archive: Box::new(Nothing),
            clock: Clock::system(),
            events: Events::default(),
        }),
        keystore: KeystoreActor::new(Arc::new(Nothing)),
        ratchet: RatchetActor::new(RatchetParts {
            store: None,
            archive: Box::new(Nothing),
            retained: RetainedKeys::default(),
            used: None,
            config: RatchetConfig {
                form: KeyIdForm::Short,
                interval: Duration::MAX,
                max_age: Duration::MAX,
            },
            entropy: Entropy::system(),
            clock: Clock::system(),
        }),
        tables,
        signals,
        exchange: ExchangeConfig {
            suites: vec![],
            legacy: false,
            validity: Validity::default(),
            interval: Duration::from_secs(60),
        },
        keeps_denied: false,
        stores: StoreWatch::new(Events::default()),
        watched: Watched::default(),
        controller: Some(Duration::from_secs(3600)),
        chain_server: None,
        served: vec![],
        clock: Clock::system(),
        events: Events::default(),
        threads: Threads::default(),
    }
}

/// An actor on a thread of its own is found dead by the message after the one that kills it.
async fn kill<A>(address: &Addr<A>)
where
    A: Actor + Handler<Die>,
    A::Context: ToEnvelope<A, Die>,
{
    while address.connected() {
        assert!(address.send(Die).await.is_err());
    }
}

fn validation() -> ValidateChain {
    ValidateChain {
        chain: vec![],
        root_topic: "t".into(),
        usage: Usage::Encrypt,
    }
}

macro_rules! dies_and_is_restarted {
    ($($actor:ident: $places:ident, $start:expr),+ $(,)?) => {
        $(#[actix::test]
        async fn $actor() {
            let parts = parts();
            let first = ($start)(&parts);
            let places = parts.slots.$places();
            places.iter().for_each(|place| place.connect(&first));
            restart_dead(&parts);
            assert!(all_connected(&places));
            kill(&first).await;
            assert!(!all_connected(&places));
            restart_dead(&parts);
            assert!(all_connected(&places));
        })+
    };
}

mod dies_and_is_restarted {
    use super::*;

    dies_and_is_restarted!(
        chain: of_chain, |parts: &SupervisorParts| parts.on_a_thread("chain", parts.chain.clone()),
        keystore: of_keystore, |parts: &SupervisorParts| parts.on_a_thread("keystore", parts.keystore.clone()),
        ratchet: of_ratchet, |parts: &SupervisorParts| parts.on_a_thread("ratchet", parts.ratchet.clone()),
        key_table: of_key_table, |parts: &SupervisorParts| parts.key_table().start(),
        exchange: of_exchange, |parts: &SupervisorParts| parts.exchange().start(),
        controller: of_controller, |parts: &SupervisorParts| parts.controller().start(),
        gateway: of_gateway, |parts: &SupervisorParts| parts.start_gateway(),
    );
}

#[actix::test]
async fn an_actor_is_restarted_behind_a_replacement_that_passes_on_to_it() {
    let parts = parts();
    let chain = parts.on_a_thread("chain", parts.chain.clone());
    let places = parts.slots.of_chain();
    places.iter().for_each(|place| place.connect(&chain));
    let passed_on = parts.slots.validate.own();
    parts.slots.validate.replace(&Own.start());
    kill(&chain).await;
    restart_dead(&parts);
    assert!(parts.slots.ask_trust.send(AskTrust).await.is_ok());
    let validated = parts.slots.validate.send(validation()).await.unwrap();
    assert_eq!(validated.unwrap_err(), ChainError::Denied);
    let validated = passed_on.send(validation()).await.unwrap();
    assert_ne!(validated.unwrap_err(), ChainError::Denied);
}
