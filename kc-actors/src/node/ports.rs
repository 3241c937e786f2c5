use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};

use crate::actors::{
    ChainActor, ControllerActor, ExchangeActor, GatewayActor, KeyTableActor, KeystoreActor,
    RatchetActor,
};
use crate::messages::{
    AskController, AskExchange, AskTrust, AwaitKey, AwaitedKeys, CloseGateway, HeldKeys, HeldRoots,
    JudgeGivers, KeyWanted, ManagementRecords, OwnGrant, OwnIdentities, PrepareRoot,
    ReceivedOpeningKeys, Rotate, SealingKeyFor, SendRecord, ServeRoot, SideRecords, Sign,
    TendTrust, TurnRatchet, ValidateChain, Watch, WatchSubscriptions,
};
use crate::port::Port;

/// Every port of a node's default wiring. Whoever wants another actor in a place connects it there; should
/// it die, the node puts its own back, behind this port alone.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Validates chains.
    pub validate: Port<ValidateChain>,
    /// Knows the node's identities.
    pub identities: Port<OwnIdentities>,
    /// Knows what they are granted.
    pub grants: Port<OwnGrant>,
    /// Judges who gave keys.
    pub judge: Port<JudgeGivers>,
    /// Takes what the management topics bring.
    pub management: Port<ManagementRecords>,
    /// Does what is due in chain validation.
    pub tend_trust: Port<TendTrust>,
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
    pub send_record: Port<SendRecord>,
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
    /// Turns the ratchet because a person asks for it.
    pub rotate: Port<Rotate>,
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
            judge: Port::unconnected(),
            management: Port::unconnected(),
            tend_trust: Port::unconnected(),
            ask_trust: Port::unconnected(),
            sign: Port::unconnected(),
            sealing_keys: Port::unconnected(),
            turn: Port::unconnected(),
            held: Port::unconnected(),
            held_roots: Port::unconnected(),
            send_record: Port::unconnected(),
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
            rotate: Port::unconnected(),
            received: Port::unconnected(),
            awaited: Port::unconnected(),
            await_key: Port::unconnected(),
        }
    }

    /// Takes all actors away, so that handles which outlive the node keep none of them alive.
    pub(super) fn disconnect(&self) {
        abandon_all(&self.of_chain());
        abandon_all(&self.of_keystore());
        abandon_all(&self.of_ratchet());
        abandon_all(&self.of_gateway());
        abandon_all(&self.of_controller());
        abandon_all(&self.of_exchange());
        abandon_all(&self.of_key_table());
    }

    pub(super) fn of_chain(&self) -> [&dyn Place<ChainActor>; 7] {
        [
            &self.validate,
            &self.identities,
            &self.grants,
            &self.judge,
            &self.management,
            &self.tend_trust,
            &self.ask_trust,
        ]
    }

    pub(super) fn of_keystore(&self) -> [&dyn Place<KeystoreActor>; 1] {
        [&self.sign]
    }

    pub(super) fn of_ratchet(&self) -> [&dyn Place<RatchetActor>; 4] {
        [&self.sealing_keys, &self.turn, &self.held, &self.held_roots]
    }

    pub(super) fn of_gateway(&self) -> [&dyn Place<GatewayActor>; 4] {
        [
            &self.send_record,
            &self.watch,
            &self.watch_subscriptions,
            &self.close_gateway,
        ]
    }

    pub(super) fn of_controller(&self) -> [&dyn Place<ControllerActor>; 2] {
        [&self.subscriptions, &self.ask_controller]
    }

    pub(super) fn of_exchange(&self) -> [&dyn Place<ExchangeActor>; 4] {
        [&self.wanted, &self.serve, &self.records, &self.ask]
    }

    pub(super) fn of_key_table(&self) -> [&dyn Place<KeyTableActor>; 5] {
        [
            &self.prepare,
            &self.rotate,
            &self.received,
            &self.awaited,
            &self.await_key,
        ]
    }
}

/// A port that an actor of this type can be behind.
pub(super) trait Place<A: Actor> {
    /// Whether the node's actor is running, and another, if one is put there.
    fn is_whole(&self) -> bool;

    /// Puts the node's actor behind it, unless another is.
    fn give_to(&self, address: &Addr<A>);

    /// Takes away whoever is behind it.
    fn abandon(&self);
}

impl<A, M> Place<A> for Port<M>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn is_whole(&self) -> bool {
        Port::is_whole(self)
    }

    fn give_to(&self, address: &Addr<A>) {
        Port::give_to(self, address);
    }

    fn abandon(&self) {
        Port::abandon(self);
    }
}

pub(super) fn all_whole<A: Actor>(places: &[&dyn Place<A>]) -> bool {
    places.iter().all(|place| place.is_whole())
}

fn abandon_all<A: Actor>(places: &[&dyn Place<A>]) {
    places.iter().for_each(|place| place.abandon());
}
