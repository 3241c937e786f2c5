use actix::Addr;

use crate::actors::{
    ChainActor, ControllerActor, ExchangeActor, GatewayActor, KeystoreActor, PublisherActor,
    RatchetActor,
};
use crate::messages::{
    AskController, AskExchange, AskTrust, AwaitKey, AwaitedKeys, CloseGateway, HeldKeys, HeldRoots,
    KeyWanted, ManagementRecords, OwnGrant, OwnIdentities, PrepareRoot, Publish,
    ReceivedOpeningKeys, SealingKeyFor, ServeRoot, SideRecords, Sign, TurnRatchet, ValidateChain,
    Watch, WatchSubscriptions,
};
use crate::port::Port;

/// Every port of a node's default wiring. Whoever wants another actor in a place connects it there; should
/// it die, the node puts its own back.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Validates chains.
    pub validate: Port<ValidateChain>,
    /// Knows the node's identities.
    pub identities: Port<OwnIdentities>,
    /// Knows what they are granted.
    pub grants: Port<OwnGrant>,
    /// Takes what the management topics bring.
    pub management: Port<ManagementRecords>,
    /// Says whom the node trusts.
    pub ask_trust: Port<AskTrust>,
    /// Signs with the node's keys.
    pub sign: Port<Sign>,
    /// Gives keys to seal with.
    pub sealing_keys: Port<SealingKeyFor>,
    /// Turns the ratchet.
    pub turn: Port<TurnRatchet>,
    /// Gives past keys.
    pub held: Port<HeldKeys>,
    /// Says which past keys there are.
    pub held_roots: Port<HeldRoots>,
    /// Sends to control topics.
    pub publish: Port<Publish>,
    /// Reads control topics.
    pub watch: Port<Watch>,
    /// Reads the requests to controllers of all root topics.
    pub watch_subscriptions: Port<WatchSubscriptions>,
    /// Takes requests to controllers.
    pub subscriptions: Port<SideRecords>,
    /// Says how the controller stands.
    pub ask_controller: Port<AskController>,
    /// Closes the gateway.
    pub close_gateway: Port<CloseGateway>,
    /// Asks for missing keys.
    pub wanted: Port<KeyWanted>,
    /// Answers requests for the keys of a root topic.
    pub serve: Port<ServeRoot>,
    /// Takes requests to producers, and replies.
    pub records: Port<SideRecords>,
    /// Says how the exchange stands.
    pub ask: Port<AskExchange>,
    /// Makes a root topic ready to be sealed for.
    pub prepare: Port<PrepareRoot>,
    /// Takes the keys that come in.
    pub received: Port<ReceivedOpeningKeys>,
    /// Takes why keys do not come in.
    pub awaited: Port<AwaitedKeys>,
    /// Waits for keys.
    pub await_key: Port<AwaitKey>,
}

impl Ports {
    pub(super) fn unconnected() -> Self {
        Self {
            validate: Port::unconnected(),
            identities: Port::unconnected(),
            grants: Port::unconnected(),
            management: Port::unconnected(),
            ask_trust: Port::unconnected(),
            sign: Port::unconnected(),
            sealing_keys: Port::unconnected(),
            turn: Port::unconnected(),
            held: Port::unconnected(),
            held_roots: Port::unconnected(),
            publish: Port::unconnected(),
            watch: Port::unconnected(),
            watch_subscriptions: Port::unconnected(),
            subscriptions: Port::unconnected(),
            ask_controller: Port::unconnected(),
            close_gateway: Port::unconnected(),
            wanted: Port::unconnected(),
            serve: Port::unconnected(),
            records: Port::unconnected(),
            ask: Port::unconnected(),
            prepare: Port::unconnected(),
            received: Port::unconnected(),
            awaited: Port::unconnected(),
            await_key: Port::unconnected(),
        }
    }

    /// Whether all actors have been started.
    pub(super) fn is_connected(&self) -> bool {
        self.validate.is_open()
            && self.sign.is_open()
            && self.held.is_open()
            && self.publish.is_open()
            && self.wanted.is_open()
            && self.prepare.is_open()
    }

    /// Takes all actors away, so that handles which outlive the node keep none of them alive.
    pub(super) fn disconnect(&self) {
        self.validate.disconnect();
        self.identities.disconnect();
        self.grants.disconnect();
        self.management.disconnect();
        self.ask_trust.disconnect();
        self.sign.disconnect();
        self.sealing_keys.disconnect();
        self.turn.disconnect();
        self.held.disconnect();
        self.held_roots.disconnect();
        self.publish.disconnect();
        self.watch.disconnect();
        self.watch_subscriptions.disconnect();
        self.subscriptions.disconnect();
        self.ask_controller.disconnect();
        self.close_gateway.disconnect();
        self.wanted.disconnect();
        self.serve.disconnect();
        self.records.disconnect();
        self.ask.disconnect();
        self.prepare.disconnect();
        self.received.disconnect();
        self.awaited.disconnect();
        self.await_key.disconnect();
    }

    pub(super) fn connect_chain(&self, address: &Addr<ChainActor>) {
        self.validate.connect(address);
        self.identities.connect(address);
        self.grants.connect(address);
        self.management.connect(address);
        self.ask_trust.connect(address);
    }

    pub(super) fn connect_controller(&self, address: &Addr<ControllerActor>) {
        self.subscriptions.connect(address);
        self.ask_controller.connect(address);
    }

    pub(super) fn connect_keystore(&self, address: &Addr<KeystoreActor>) {
        self.sign.connect(address);
    }

    pub(super) fn connect_ratchet(&self, address: &Addr<RatchetActor>) {
        self.sealing_keys.connect(address);
        self.turn.connect(address);
        self.held.connect(address);
        self.held_roots.connect(address);
    }

    pub(super) fn connect_gateway(&self, address: &Addr<GatewayActor>) {
        self.publish.connect(address);
        self.watch.connect(address);
        self.watch_subscriptions.connect(address);
        self.close_gateway.connect(address);
    }

    pub(super) fn connect_exchange(&self, address: &Addr<ExchangeActor>) {
        self.wanted.connect(address);
        self.serve.connect(address);
        self.records.connect(address);
        self.ask.connect(address);
    }

    pub(super) fn connect_publisher(&self, address: &Addr<PublisherActor>) {
        self.prepare.connect(address);
        self.received.connect(address);
        self.awaited.connect(address);
        self.await_key.connect(address);
    }
}
