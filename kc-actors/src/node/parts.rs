use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, SyncArbiter, SyncContext};
use kc_core::backend::Backend;
use kc_core::chain_server::RenewalPolicy;
use kc_core::exchange::RequesterConfig;
use kc_core::types::{ManagementTopic, ManagementTopics, RootTopic};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysError, SysRng};

use super::expiry::ExpiryWatch;
use super::ports::Ports;
use super::thread::{Running, Threads};
use crate::actors::{
    ChainActor, ChainKeyArchive, ChainServerActor, ChainServerParts, ControllerActor,
    ControllerParts, ExchangeActor, ExchangeParts, GatewayActor, GatewayParts, KeystoreActor,
    PublisherActor, PublisherParts, RatchetActor, Watched, watch_until_it_works,
};
use crate::clock::Clock;
use crate::events::Events;
use crate::handles::{CryptoTables, Signals};
use crate::messages::{ControlTopic, ServeRoot, WatchSubscriptions};
use crate::stores::StoreWatch;

/// What the root makes its children of; enough to make each of them again.
#[derive(Debug)]
pub(super) struct RootParts {
    pub(super) ports: Ports,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) group: String,
    pub(super) management: ManagementTopics,
    pub(super) chain: ChainActor,
    pub(super) keystore: KeystoreActor,
    pub(super) ratchet: RatchetActor,
    pub(super) tables: Arc<CryptoTables>,
    pub(super) signals: Signals,
    pub(super) exchange: RequesterConfig,
    pub(super) stores: StoreWatch,
    /// The topics that are read, whichever gateway does.
    pub(super) watched: Watched,
    pub(super) ratchet_interval: Duration,
    /// How often to look for new root topics; `None` if the node is no controller.
    pub(super) controller: Option<Duration>,
    /// What renews chains; `None` if the node is no chain server.
    pub(super) chain_server: Option<ChainServerSettings>,
    /// The root topics whose past keys are kept, to be served from the start.
    pub(super) served: Vec<RootTopic>,
    pub(super) clock: Clock,
    pub(super) events: Events,
    /// Where randomness comes from.
    pub(super) random: fn() -> Result<StdRng, SysError>,
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

impl RootParts {
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

    pub(super) fn publisher(&self) -> PublisherActor {
        let ports = &self.ports;
        let parts = PublisherParts {
            sealing_keys: ports.sealing_keys.clone(),
            turn: ports.turn.clone(),
            wanted: ports.wanted.clone(),
            serve: ports.serve.clone(),
            ratchet_interval: self.ratchet_interval,
        };
        PublisherActor::new(parts, Arc::clone(&self.tables), self.signals.clone())
    }

    /// `None` if there are no random numbers, which is told.
    pub(super) fn exchange(&self) -> Option<ExchangeActor> {
        let told = |error: &SysError| {
            tracing::error!(target: "kc::node", %error, "no random numbers");
        };
        let rng = (self.random)().inspect_err(told).ok()?;
        let ports = &self.ports;
        let parts = ExchangeParts {
            config: self.exchange.clone(),
            validate: ports.validate.clone(),
            identities: ports.identities.clone(),
            grants: ports.grants.clone(),
            held: ports.held.clone(),
            sign: ports.sign.clone(),
            publish: ports.publish.clone(),
            watch: ports.watch.clone(),
            received: ports.received.clone(),
            awaited: ports.awaited.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        };
        Some(ExchangeActor::new(parts, Box::new(rng)))
    }

    pub(super) fn controller(&self) -> ControllerActor {
        let ports = &self.ports;
        ControllerActor::new(ControllerParts {
            validity: self.exchange.validity,
            validate: ports.validate.clone(),
            identities: ports.identities.clone(),
            sign: ports.sign.clone(),
            publish: ports.publish.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        })
    }

    pub(super) fn chain_server(&self, settings: &ChainServerSettings) -> ChainServerActor {
        let ports = &self.ports;
        ChainServerActor::new(ChainServerParts {
            policy: settings.policy,
            interval: settings.interval,
            keys: Arc::clone(&settings.keys),
            identities: ports.identities.clone(),
            sign: ports.sign.clone(),
            publish: ports.publish.clone(),
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
            records: self.ports.records.clone(),
            subscriptions: self.ports.subscriptions.clone(),
            trust: self.ports.management.clone(),
            watched: self.watched.clone(),
        });
        self.discover();
        gateway.start()
    }

    pub(super) fn expiry(&self) -> ExpiryWatch {
        let ask = self.ports.ask_trust.clone();
        ExpiryWatch::new(ask, self.clock.clone(), self.events.clone())
    }

    /// A controller serves all root topics, as soon as somebody reads.
    fn discover(&self) {
        if let Some(interval) = self.controller {
            let watch = self.ports.watch_subscriptions.clone();
            actix::spawn(async move { watch.send(WatchSubscriptions { interval }).await });
        }
    }

    /// Takes updates of trust from the start.
    pub(super) fn watch_management(&self) {
        for topic in ManagementTopic::ALL {
            let watch = self.ports.watch.clone();
            actix::spawn(watch_until_it_works(watch, ControlTopic::Management(topic)));
        }
    }

    /// Answers requests for past keys from the start, not only once the root topics are used again.
    pub(super) fn serve_past_keys(&self) {
        for root in self.served.clone() {
            let serve = self.ports.serve.clone();
            actix::spawn(async move { serve.send(ServeRoot { root }).await });
        }
    }
}

/// A generator that the operating system seeds.
pub(super) fn random_numbers() -> Result<StdRng, SysError> {
    StdRng::try_from_rng(&mut SysRng)
}
