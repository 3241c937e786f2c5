use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};

use crate::actors::{
    ChainActor, ControllerActor, ExchangeActor, GatewayActor, KeyTableActor, KeystoreActor,
    RatchetActor,
};
use crate::messages::{
    AskController, AskExchange, AskTrust, AwaitKey, AwaitedKeys, CloseGateway, JudgeGivers,
    KeyWanted, ManagementRecords, OwnGrant, OwnIdentities, PrepareRoot, ReceivedOpeningKeys,
    RetainedKeysFor, RetainedRoots, Rotate, SealingKeyFor, SendRecord, ServeRoot, SideRecords,
    Sign, TendTrust, TurnRatchet, ValidateChain, Watch, WatchSubscriptions,
};
use crate::slot::Slot;

/// The slots of a node's default wiring. [`Slot::replace`] puts another actor in a place; should it die, messages go to
/// the node's own again.
#[derive(Clone, Debug)]
pub struct Slots {
    /// Validates chains.
    pub validate: Slot<ValidateChain>,
    /// Knows the node's identities.
    pub identities: Slot<OwnIdentities>,
    /// Knows what they are granted.
    pub grants: Slot<OwnGrant>,
    /// Judges who gave keys.
    pub judge: Slot<JudgeGivers>,
    /// Takes what the management topics bring.
    pub management: Slot<ManagementRecords>,
    /// Does what is due in chain validation.
    pub tend_trust: Slot<TendTrust>,
    /// Says whom the node trusts.
    pub ask_trust: Slot<AskTrust>,
    /// Signs with the node's keys.
    pub sign: Slot<Sign>,
    /// Gives keys to seal with.
    pub sealing_keys: Slot<SealingKeyFor>,
    /// Turns the ratchet.
    pub turn: Slot<TurnRatchet>,
    /// Gives retained keys.
    pub retained: Slot<RetainedKeysFor>,
    /// Says which retained keys there are.
    pub retained_roots: Slot<RetainedRoots>,
    /// Sends to control topics.
    pub send_record: Slot<SendRecord>,
    /// Reads control topics.
    pub watch: Slot<Watch>,
    /// Reads the requests to controllers of all root topics.
    pub watch_subscriptions: Slot<WatchSubscriptions>,
    /// Takes requests to controllers.
    pub subscriptions: Slot<SideRecords>,
    /// Says how the controller stands.
    pub ask_controller: Slot<AskController>,
    /// Closes the gateway.
    pub close_gateway: Slot<CloseGateway>,
    /// Asks for missing keys.
    pub wanted: Slot<KeyWanted>,
    /// Answers requests for the keys of a root topic.
    pub serve: Slot<ServeRoot>,
    /// Takes requests to producers, and replies.
    pub records: Slot<SideRecords>,
    /// Says how the exchange stands.
    pub ask: Slot<AskExchange>,
    /// Makes a root topic ready to be sealed for.
    pub prepare: Slot<PrepareRoot>,
    /// Turns the ratchet because a person asks for it.
    pub rotate: Slot<Rotate>,
    /// Takes the keys that come in.
    pub received: Slot<ReceivedOpeningKeys>,
    /// Takes why keys do not come in.
    pub awaited: Slot<AwaitedKeys>,
    /// Waits for keys.
    pub await_key: Slot<AwaitKey>,
}

impl Slots {
    pub(super) fn unconnected() -> Self {
        Self {
            validate: Slot::unconnected(),
            identities: Slot::unconnected(),
            grants: Slot::unconnected(),
            judge: Slot::unconnected(),
            management: Slot::unconnected(),
            tend_trust: Slot::unconnected(),
            ask_trust: Slot::unconnected(),
            sign: Slot::unconnected(),
            sealing_keys: Slot::unconnected(),
            turn: Slot::unconnected(),
            retained: Slot::unconnected(),
            retained_roots: Slot::unconnected(),
            send_record: Slot::unconnected(),
            watch: Slot::unconnected(),
            watch_subscriptions: Slot::unconnected(),
            subscriptions: Slot::unconnected(),
            ask_controller: Slot::unconnected(),
            close_gateway: Slot::unconnected(),
            wanted: Slot::unconnected(),
            serve: Slot::unconnected(),
            records: Slot::unconnected(),
            ask: Slot::unconnected(),
            prepare: Slot::unconnected(),
            rotate: Slot::unconnected(),
            received: Slot::unconnected(),
            awaited: Slot::unconnected(),
            await_key: Slot::unconnected(),
        }
    }

    /// Takes all actors away, so that handles which outlive the node keep none of them alive.
    pub(super) fn disconnect(&self) {
        disconnect_all(&self.of_chain());
        disconnect_all(&self.of_keystore());
        disconnect_all(&self.of_ratchet());
        disconnect_all(&self.of_gateway());
        disconnect_all(&self.of_controller());
        disconnect_all(&self.of_exchange());
        disconnect_all(&self.of_key_table());
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
        [
            &self.sealing_keys,
            &self.turn,
            &self.retained,
            &self.retained_roots,
        ]
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

/// A slot that an actor of this type can be behind.
pub(super) trait Place<A: Actor> {
    /// Returns whether the node's own actor is alive.
    fn is_connected(&self) -> bool;

    /// Makes this actor the node's own.
    fn connect(&self, address: &Addr<A>);

    /// Empties the slot.
    fn disconnect(&self);
}

impl<A, M> Place<A> for Slot<M>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn is_connected(&self) -> bool {
        Slot::is_connected(self)
    }

    fn connect(&self, address: &Addr<A>) {
        Slot::connect(self, address);
    }

    fn disconnect(&self) {
        Slot::disconnect(self);
    }
}

/// Returns whether the node's own actor is alive behind all of these.
pub(super) fn all_connected<A: Actor>(places: &[&dyn Place<A>]) -> bool {
    places.iter().all(|place| place.is_connected())
}

fn disconnect_all<A: Actor>(places: &[&dyn Place<A>]) {
    places.iter().for_each(|place| place.disconnect());
}
