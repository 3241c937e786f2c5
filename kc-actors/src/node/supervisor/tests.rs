use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Context, Handler, Message, MessageResult};
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
use kc_core::store::{KeyStore, RetainedKeysArchive, StoreError, StoreErrorKind, TrustArchive};
use kc_core::types::{ManagementTopics, TopicScheme};
use tokio::sync::mpsc;

use super::*;
use crate::actors::chain::{AskTrust, ChainParts, ManagementRecords, ValidateChain};
use crate::actors::keystore::Sign;
use crate::actors::ratchet::RatchetParts;

/// Ends an actor, as a fault in the actor does.
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

/// An actor that refuses all chains.
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

/// The backend and the stores of a node. All of their operations fail.
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

impl RetainedKeysArchive for Nothing {
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

/// Returns the parts of a controller whose backend and stores fail.
pub(in crate::node) fn parts() -> SupervisorParts {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    SupervisorParts {
        roles: Roles::default(),
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
            archive: Some(Box::new(Nothing)),
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
        custodian: None,
        chain_server: None,
        served: vec![],
        clock: Clock::system(),
        events: Events::default(),
        threads: Threads::default(),
    }
}

/// Ends an actor. For an actor on a thread of its own, only the next message shows that it has ended.
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
    ($($role:ident: $start:ident),+ $(,)?) => {
        $(#[actix::test]
        async fn $role() {
            let mut supervisor = Supervisor::new(parts());
            let roles = supervisor.parts.roles.clone();
            let first = supervisor.parts.$start();
            roles.$role.connect(&first);
            supervisor.restart_dead();
            kill(&first).await;
            assert!(!roles.$role.is_connected());
            supervisor.restart_dead();
            assert!(roles.$role.is_connected());
        })+
    };
}

mod dies_and_is_restarted {
    use super::*;

    dies_and_is_restarted!(
        chain: start_chain,
        keystore: start_keystore,
        ratchet: start_ratchet,
        key_table: start_key_table,
        exchange: start_exchange,
        controller: start_controller,
        gateway: start_gateway,
    );
}

#[actix::test]
async fn an_actor_is_restarted_behind_a_replacement_that_passes_on_to_it() {
    let mut supervisor = Supervisor::new(parts());
    let roles = supervisor.parts.roles.clone();
    let chain = supervisor.parts.start_chain();
    roles.chain.connect(&chain);
    let passed_on = roles.chain.own();
    roles.chain.validate.replace(&Own.start());
    kill(&chain).await;
    supervisor.restart_dead();
    assert!(roles.chain.status.send(AskTrust).await.is_ok());
    let validated = roles.chain.validate.send(validation()).await.unwrap();
    assert_eq!(validated.unwrap_err(), ChainError::Denied);
    let validated = passed_on.validate.send(validation()).await.unwrap();
    assert_ne!(validated.unwrap_err(), ChainError::Denied);
}

/// An actor that replaces the default actor in all slots of a role.
struct OwnKeystore;

impl Actor for OwnKeystore {
    type Context = Context<Self>;
}

impl Handler<Sign> for OwnKeystore {
    type Result = Result<Vec<u8>, StoreError>;

    fn handle(&mut self, message: Sign, _: &mut Self::Context) -> Self::Result {
        Ok(message.message)
    }
}

#[actix::test]
async fn a_whole_role_is_replaced_by_one_call() {
    let mut supervisor = Supervisor::new(parts());
    supervisor.restart_dead();
    let keystore = supervisor.parts.roles.keystore.clone();
    let message = || Sign {
        key: VerifyingKey::Ed25519([1; 32]),
        message: vec![7],
    };
    assert!(keystore.sign.send(message()).await.unwrap().is_err());
    keystore.replace(&OwnKeystore.start());
    let signed = keystore.sign.send(message()).await.unwrap();
    assert_eq!(signed.unwrap(), [7]);
}

/// Reports each request to run due tasks. The answer is that no task is due soon.
struct Tended(mpsc::UnboundedSender<()>);

impl Actor for Tended {
    type Context = Context<Self>;
}

impl Handler<TendTrust> for Tended {
    type Result = MessageResult<TendTrust>;

    fn handle(&mut self, _: TendTrust, _: &mut Self::Context) -> Self::Result {
        self.0.send(()).unwrap();
        MessageResult(Duration::from_secs(3600))
    }
}

#[actix::test]
async fn chain_validation_is_tended_when_it_is_due_or_records_came() {
    let mut supervisor = Supervisor::new(parts());
    supervisor.restart_dead();
    let chain = supervisor.parts.roles.chain.clone();
    let (tends, mut tended) = mpsc::unbounded_channel();
    chain.tend.replace(&Tended(tends).start());
    actix::spawn(supervisor.parts.tend_trust());
    tended.recv().await.unwrap();
    chain.records.send(ManagementRecords(vec![])).await.unwrap();
    let again = timeout(Duration::from_secs(60), tended.recv());
    again.await.unwrap().unwrap();
    assert!(tended.try_recv().is_err(), "no more often");
}
