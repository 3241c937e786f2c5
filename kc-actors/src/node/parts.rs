use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, SyncArbiter, SyncContext};
use kc_core::backend::Backend;
use kc_core::chain_server::RenewalPolicy;
use kc_core::exchange::ExchangeConfig;
use kc_core::types::{ManagementTopic, ManagementTopics, RootTopic};
use tokio::time::sleep;

use super::slots::Slots;
use super::thread::{Running, Threads};
use crate::actors::{
    ChainActor, ChainKeyArchive, ChainServerActor, ChainServerParts, ControllerActor,
    ControllerParts, ExchangeActor, ExchangeParts, GatewayActor, GatewayParts, KeyTableActor,
    KeyTableParts, KeystoreActor, RatchetActor, Watched, watch_until_it_works,
};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::handles::{CryptoTables, Signals};
use crate::messages::{ControlTopic, ServeRoot, TendTrust, WatchSubscriptions};
use crate::stores::StoreWatch;

/// The longest time without a look at what is due in chain validation.
const LONGEST_TENDING: Duration = Duration::from_secs(1);

/// What the root makes its children of; enough to make each of them again.
#[derive(Debug)]
pub(super) struct SupervisorParts {
    pub(super) slots: Slots,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) group: String,
    pub(super) management: ManagementTopics,
    pub(super) chain: ChainActor,
    pub(super) keystore: KeystoreActor,
    pub(super) ratchet: RatchetActor,
    pub(super) tables: Arc<CryptoTables>,
    pub(super) signals: Signals,
    pub(super) exchange: ExchangeConfig,
    /// Whether keys of denied givers are kept.
    pub(super) keeps_denied: bool,
    pub(super) stores: StoreWatch,
    /// The topics that are read, whichever gateway does.
    pub(super) watched: Watched,
    /// How often to look for new root topics; `None` if the node is no controller.
    pub(super) controller: Option<Duration>,
    /// What renews chains; `None` if the node is no chain server.
    pub(super) chain_server: Option<ChainServerSettings>,
    /// The root topics whose retained keys are kept, to be served from the start.
    pub(super) served: Vec<RootTopic>,
    pub(super) clock: Clock,
    pub(super) events: Events,
    /// The threads of actors, so that their end can be awaited.
    pub(super) threads: Threads,
}

/// What a thread of an actor holds. Dropped in this order: when it counts as ended, the actor's files are free.
struct Thread<A> {
    actor: A,
    _running: Running,
}

impl<A: Clone> Thread<A> {
    fn actor(&self) -> A {
        self.actor.clone()
    }
}

/// What a chain server adds to a node.
#[derive(Clone, Debug)]
pub(super) struct ChainServerSettings {
    pub(super) policy: RenewalPolicy,
    pub(super) interval: Duration,
    pub(super) keys: Arc<dyn ChainKeyArchive>,
}

impl SupervisorParts {
    pub(super) fn on_a_thread<A>(&self, name: &'static str, actor: A) -> Addr<A>
    where
        A: Actor<Context = SyncContext<A>> + Clone + Send + Sync,
    {
        let thread = Thread {
            actor,
            _running: self.threads.begin(name),
        };
        SyncArbiter::start(1, move || thread.actor())
    }

    pub(super) fn key_table(&self) -> KeyTableActor {
        let slots = &self.slots;
        let parts = KeyTableParts {
            sealing_keys: slots.sealing_keys.clone(),
            turn: slots.turn.clone(),
            wanted: slots.wanted.clone(),
            serve: slots.serve.clone(),
            judge: slots.judge.clone(),
            keeps_denied: self.keeps_denied,
            events: self.events.clone(),
        };
        KeyTableActor::new(parts, Arc::clone(&self.tables), self.signals.clone())
    }

    pub(super) fn exchange(&self) -> ExchangeActor {
        let slots = &self.slots;
        ExchangeActor::new(ExchangeParts {
            config: self.exchange.clone(),
            validate: slots.validate.clone(),
            identities: slots.identities.clone(),
            grants: slots.grants.clone(),
            retained: slots.retained.clone(),
            sign: slots.sign.clone(),
            send_record: slots.send_record.clone(),
            watch: slots.watch.clone(),
            received: slots.received.clone(),
            awaited: slots.awaited.clone(),
            clock: self.clock.clone(),
            entropy: Entropy::system(),
            events: self.events.clone(),
        })
    }

    pub(super) fn controller(&self) -> ControllerActor {
        let slots = &self.slots;
        ControllerActor::new(ControllerParts {
            validity: self.exchange.validity,
            validate: slots.validate.clone(),
            identities: slots.identities.clone(),
            sign: slots.sign.clone(),
            send_record: slots.send_record.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        })
    }

    pub(super) fn chain_server(&self, settings: &ChainServerSettings) -> ChainServerActor {
        let slots = &self.slots;
        ChainServerActor::new(ChainServerParts {
            policy: settings.policy,
            interval: settings.interval,
            keys: Arc::clone(&settings.keys),
            identities: slots.identities.clone(),
            sign: slots.sign.clone(),
            send_record: slots.send_record.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        })
    }

    pub(super) fn start_gateway(&self) -> Addr<GatewayActor> {
        let gateway = GatewayActor::new(GatewayParts {
            backend: Arc::clone(&self.backend),
            scheme: self.tables.scheme.clone(),
            management: self.management.clone(),
            group: self.group.clone(),
            records: self.slots.records.clone(),
            subscriptions: self.slots.subscriptions.clone(),
            trust: self.slots.management.clone(),
            watched: self.watched.clone(),
        });
        self.discover();
        gateway.start()
    }

    /// Lets chain validation do what is due, for as long as the node runs.
    pub(super) fn tend_trust(&self) -> impl Future<Output = ()> + use<> {
        let tend = self.slots.tend_trust.clone();
        async move {
            loop {
                let wait = tend.send(TendTrust).await.unwrap_or(LONGEST_TENDING);
                sleep(wait.min(LONGEST_TENDING)).await;
            }
        }
    }

    /// A controller serves all root topics, as soon as somebody reads.
    fn discover(&self) {
        if let Some(interval) = self.controller {
            let watch = self.slots.watch_subscriptions.clone();
            actix::spawn(async move { watch.send(WatchSubscriptions { interval }).await });
        }
    }

    /// Takes updates of trust from the start.
    pub(super) fn watch_management(&self) {
        for topic in ManagementTopic::ALL {
            let watch = self.slots.watch.clone();
            actix::spawn(watch_until_it_works(watch, ControlTopic::Management(topic)));
        }
    }

    /// Answers requests for retained keys from the start, not only once the root topics are used again.
    pub(super) fn serve_retained_keys(&self) {
        for root_topic in self.served.clone() {
            let serve = self.slots.serve.clone();
            actix::spawn(async move { serve.send(ServeRoot { root_topic }).await });
        }
    }
}
