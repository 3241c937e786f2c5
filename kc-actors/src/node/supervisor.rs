//! The supervisor: it starts the actors of a node, and restarts actors that have died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, SyncArbiter, SyncContext, WrapFuture};
use kc_core::backend::{Backend, Retention, Subscription};
use kc_core::chain_server::RenewalPolicy;
use kc_core::exchange::ExchangeConfig;
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::store::ChainKeyArchive;
use kc_core::types::{ManagementTopic, ManagementTopics, RootTopic};
use tokio::time::{sleep, timeout};

use super::reachability::watch_brokers;
use super::thread::{Running, Threads};
use crate::actors::chain::{ChainActor, ChainRole, TendTrust};
use crate::actors::chain_server::{ChainServerActor, ChainServerParts};
use crate::actors::controller::{ControllerActor, ControllerParts, ControllerRole};
use crate::actors::custody::{
    CollectorActor, CollectorParts, CollectorRole, CustodyActor, CustodyRole,
};
use crate::actors::exchange::{ExchangeActor, ExchangeParts, ExchangeRole, ServeRoot};
use crate::actors::gateway::{
    ControlTopic, GatewayActor, GatewayParts, GatewayRole, Watch, WatchSubscriptions, Watched,
    retry_delay,
};
use crate::actors::key_table::{KeyTableActor, KeyTableParts, KeyTableRole};
use crate::actors::keystore::{KeystoreActor, KeystoreRole};
use crate::actors::ratchet::{RatchetActor, RatchetRole};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::{Events, warn_of};
use crate::handles::{CryptoTables, Signals};
use crate::stores::StoreWatch;

/// Time between two searches for actors that have died.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The time between a failed attempt to read a management topic and the next attempt. If only an operator can correct
/// the failure, [`retry_delay`] returns a longer time.
const WATCH_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The roles of a node. An application can replace a role, or a slot of a role, by its own actor. If that actor dies,
/// messages go to the default actor again.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Roles {
    /// Validates chains, and keeps the lists of trust.
    pub chain: ChainRole,
    /// Signs with the keys of the node.
    pub keystore: KeystoreRole,
    /// Derives the data keys with which the node seals.
    pub ratchet: RatchetRole,
    /// Requests data keys from other nodes, and answers their requests.
    pub exchange: ExchangeRole,
    /// Vouches for the requests of limited nodes, which may not ask producers themselves.
    pub controller: ControllerRole,
    /// Keeps the data keys of other nodes.
    pub custody: CustodyRole,
    /// Reads data topics for custody.
    pub collector: CollectorRole,
    /// Reads the control topics, and sends records to them.
    pub gateway: GatewayRole,
    /// Publishes data keys to the handles.
    pub key_table: KeyTableRole,
}

impl Roles {
    /// Removes the actors from all roles, so that a handle that outlives the node keeps no actor alive.
    pub(super) fn disconnect(&self) {
        self.chain.disconnect();
        self.keystore.disconnect();
        self.ratchet.disconnect();
        self.exchange.disconnect();
        self.controller.disconnect();
        self.custody.disconnect();
        self.collector.disconnect();
        self.gateway.disconnect();
        self.key_table.disconnect();
    }
}

/// The parts of a supervisor, from which it can restart each of its actors.
#[derive(Debug)]
pub(super) struct SupervisorParts {
    pub(super) roles: Roles,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) group: String,
    pub(super) management: ManagementTopics,
    pub(super) chain: ChainActor,
    pub(super) keystore: KeystoreActor,
    pub(super) ratchet: RatchetActor,
    pub(super) tables: Arc<CryptoTables>,
    pub(super) signals: Signals,
    pub(super) exchange: ExchangeConfig,
    /// `true` if the node keeps data keys that only denied nodes have sent.
    pub(super) keeps_denied: bool,
    pub(super) stores: StoreWatch,
    /// The topics that are read. A restarted gateway gets the same list.
    pub(super) watched: Watched,
    /// The time between two searches for new root topics; `None` if the node is not a controller.
    pub(super) controller: Option<Duration>,
    /// The parts of custody; `None` if the node is not a custodian.
    pub(super) custodian: Option<CustodianSettings>,
    /// The settings of the chain server; `None` if the node is not a chain server.
    pub(super) chain_server: Option<ChainServerSettings>,
    /// The root topics of the retained keys. The node answers requests for these keys from its start.
    pub(super) served: Vec<RootTopic>,
    pub(super) clock: Clock,
    pub(super) events: Events,
    /// The threads of the actors. Closing the node waits until they have ended.
    pub(super) threads: Threads,
}

/// The settings of a chain server.
#[derive(Clone, Debug)]
pub(super) struct ChainServerSettings {
    pub(super) policy: RenewalPolicy,
    pub(super) interval: Duration,
    pub(super) keys: Arc<dyn ChainKeyArchive>,
}

/// The settings of a custodian.
#[derive(Clone, Debug)]
pub(super) struct CustodianSettings {
    pub(super) custody: CustodyActor,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) topics: Subscription,
    pub(super) group: String,
    pub(super) retention: Option<Retention>,
}

/// Starts the actors, and restarts actors that have died.
#[derive(Debug)]
pub(super) struct Supervisor {
    parts: SupervisorParts,
    chain_server: Option<Addr<ChainServerActor>>,
}

impl Supervisor {
    pub(super) fn new(parts: SupervisorParts) -> Self {
        Self {
            parts,
            chain_server: None,
        }
    }

    /// Starts each actor of the node that was not started yet, or has died: the default actors of the roles, and the
    /// chain server.
    pub(super) fn restart_dead(&mut self) {
        let (parts, roles) = (&self.parts, &self.parts.roles);
        if !roles.chain.is_connected() {
            roles.chain.connect(&parts.start_chain());
        }
        if !roles.keystore.is_connected() {
            roles.keystore.connect(&parts.start_keystore());
        }
        if !roles.ratchet.is_connected() {
            roles.ratchet.connect(&parts.start_ratchet());
        }
        if !roles.key_table.is_connected() {
            roles.key_table.connect(&parts.start_key_table());
        }
        if !roles.exchange.is_connected() {
            roles.exchange.connect(&parts.start_exchange());
        }
        if parts.controller.is_some() && !roles.controller.is_connected() {
            roles.controller.connect(&parts.start_controller());
        }
        if !roles.gateway.is_connected() {
            roles.gateway.connect(&parts.start_gateway());
        }
        if let Some(settings) = &parts.custodian {
            if !roles.custody.is_connected() {
                let custody = parts.on_a_thread("custody", settings.custody.clone());
                roles.custody.connect(&custody);
            }
            if !roles.collector.is_connected() {
                roles.collector.connect(&parts.start_collector(settings));
            }
        }
        if let Some(settings) = &parts.chain_server
            && !self.chain_server.as_ref().is_some_and(Addr::connected)
        {
            self.chain_server = Some(parts.start_chain_server(settings));
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.parts.watch_management();
        self.parts.serve_retained_keys();
        ctx.spawn(self.parts.tend_trust().into_actor(self));
        ctx.spawn(self.parts.watch_brokers().into_actor(self));
        ctx.run_interval(LOOK_INTERVAL, |actor, _| {
            actor.restart_dead();
            actor.parts.stores.look(Instant::now());
        });
    }
}

impl SupervisorParts {
    fn start_chain(&self) -> Addr<ChainActor> {
        self.on_a_thread("chain validation", self.chain.clone())
    }

    fn start_keystore(&self) -> Addr<KeystoreActor> {
        self.on_a_thread("keystore", self.keystore.clone())
    }

    fn start_ratchet(&self) -> Addr<RatchetActor> {
        self.on_a_thread("ratchet", self.ratchet.clone())
    }

    fn on_a_thread<A>(&self, name: &'static str, actor: A) -> Addr<A>
    where
        A: Actor<Context = SyncContext<A>> + Clone + Send + Sync,
    {
        let thread = Thread {
            actor,
            _running: self.threads.begin(name),
        };
        SyncArbiter::start(1, move || thread.actor())
    }

    fn start_key_table(&self) -> Addr<KeyTableActor> {
        let parts = KeyTableParts {
            ratchet: self.roles.ratchet.clone(),
            exchange: self.roles.exchange.clone(),
            chain: self.roles.chain.clone(),
            keeps_denied: self.keeps_denied,
            events: self.events.clone(),
        };
        KeyTableActor::new(parts, Arc::clone(&self.tables), self.signals.clone()).start()
    }

    fn start_exchange(&self) -> Addr<ExchangeActor> {
        let parts = ExchangeParts {
            config: self.exchange.clone(),
            chain: self.roles.chain.clone(),
            keystore: self.roles.keystore.clone(),
            ratchet: self.roles.ratchet.clone(),
            gateway: self.roles.gateway.clone(),
            key_table: self.roles.key_table.clone(),
            custody: self.custodian.is_some().then(|| self.roles.custody.clone()),
            clock: self.clock.clone(),
            entropy: Entropy::system(),
            events: self.events.clone(),
        };
        ExchangeActor::new(parts).start()
    }

    fn start_controller(&self) -> Addr<ControllerActor> {
        let parts = ControllerParts {
            validity: self.exchange.validity,
            chain: self.roles.chain.clone(),
            keystore: self.roles.keystore.clone(),
            gateway: self.roles.gateway.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        };
        ControllerActor::new(parts).start()
    }

    fn start_chain_server(&self, settings: &ChainServerSettings) -> Addr<ChainServerActor> {
        let parts = ChainServerParts {
            policy: settings.policy,
            interval: settings.interval,
            keys: Arc::clone(&settings.keys),
            chain: self.roles.chain.clone(),
            keystore: self.roles.keystore.clone(),
            gateway: self.roles.gateway.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        };
        ChainServerActor::new(parts).start()
    }

    fn start_collector(&self, settings: &CustodianSettings) -> Addr<CollectorActor> {
        let parts = CollectorParts {
            backend: Arc::clone(&settings.backend),
            topics: settings.topics.clone(),
            group: settings.group.clone(),
            retention: settings.retention,
            scheme: Arc::clone(&self.tables.scheme),
            custody: self.roles.custody.clone(),
            exchange: self.roles.exchange.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        };
        CollectorActor::new(parts).start()
    }

    fn start_gateway(&self) -> Addr<GatewayActor> {
        let gateway = GatewayActor::new(GatewayParts {
            backend: Arc::clone(&self.backend),
            scheme: (*self.tables.scheme).clone(),
            management: self.management.clone(),
            group: self.group.clone(),
            chain: self.roles.chain.clone(),
            exchange: self.roles.exchange.clone(),
            controller: self.roles.controller.clone(),
            watched: self.watched.clone(),
            clock: self.clock.clone(),
        });
        if let Some(interval) = self.controller {
            let watch = self.roles.gateway.watch_subscriptions.clone();
            actix::spawn(async move { watch.send(WatchSubscriptions { interval }).await });
        }
        gateway.start()
    }

    /// Reports outages of the brokers as long as the node runs.
    fn watch_brokers(&self) -> impl Future<Output = ()> + use<> {
        let [topic, ..] = self.management.names();
        let (backend, events) = (Arc::clone(&self.backend), self.events.clone());
        let watching = watch_brokers(backend, topic.to_owned(), events);
        async move { match watching.await {} }
    }

    /// Runs the tasks of chain validation when they are due, as long as the node runs.
    fn tend_trust(&self) -> impl Future<Output = ()> + use<> {
        let (tend, chain) = (self.roles.chain.tend.clone(), self.chain.clone());
        async move {
            loop {
                // If the actor has died, the supervisor restarts it within this interval.
                let wait = tend.send(TendTrust).await.unwrap_or(LOOK_INTERVAL);
                // A record may have changed the time at which the next task is due.
                let _ = timeout(wait, chain.updated()).await;
            }
        }
    }

    /// Makes the gateway read the management topics from their first records on.
    fn watch_management(&self) {
        for topic in ManagementTopic::ALL {
            let (gateway, clock) = (self.roles.gateway.clone(), self.clock.clone());
            let topic = ControlTopic::Management(topic);
            actix::spawn(watch_until_it_works(gateway, topic, clock));
        }
    }

    /// Makes the key exchange answer requests for retained keys from the start of the node, even for root topics for
    /// which the node does not seal yet.
    fn serve_retained_keys(&self) {
        for root_topic in self.served.clone() {
            let serve = self.roles.exchange.serve.clone();
            actix::spawn(async move { serve.send(ServeRoot { root_topic }).await });
        }
    }
}

/// Asks the gateway to read a topic, and repeats this until the gateway reads the topic. Logs failures. If a retry may
/// help, for example because no broker answers, the first failure is not logged: the application notices a missing
/// broker itself.
async fn watch_until_it_works(gateway: GatewayRole, topic: ControlTopic, clock: Clock) {
    let (mut failures, mut is_first) = (FailureLog::new(OUTAGE_INTERVAL), true);
    loop {
        let message = Watch {
            topic: topic.clone(),
        };
        let mut wait = WATCH_RETRY_DELAY;
        match gateway.watch.send(message).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                wait = retry_delay(&error, WATCH_RETRY_DELAY);
                let now = clock.both().mono;
                if (error.is_fatal() || !is_first)
                    && failures.fail((), error.to_string(), now).is_some()
                {
                    warn_of(&error, &format!("{topic:?}"), "topic cannot be read yet");
                }
            }
            // The gateway has died, and will be restarted.
            Err(_) => {}
        }
        is_first = false;
        sleep(wait).await;
    }
}

/// The values that an actor's thread owns. The fields are dropped in the order of their declaration: the actor releases
/// its files before the thread counts as ended.
struct Thread<A> {
    actor: A,
    _running: Running,
}

impl<A: Clone> Thread<A> {
    fn actor(&self) -> A {
        self.actor.clone()
    }
}

#[cfg(test)]
pub(super) mod tests;
