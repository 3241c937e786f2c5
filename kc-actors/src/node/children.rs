use actix::{Actor, Addr, WeakAddr};

use super::parts::SupervisorParts;
use super::slots::{Place, all_whole};
use crate::actors::{
    ChainActor, ControllerActor, ExchangeActor, GatewayActor, KeyTableActor, KeystoreActor,
    RatchetActor,
};

/// The actors that the node has made. Its slots keep them, also where others have taken their places, because
/// those may pass on to them.
#[derive(Debug, Default)]
pub(super) struct Children {
    chain: Child<ChainActor>,
    keystore: Child<KeystoreActor>,
    ratchet: Child<RatchetActor>,
    key_table: Child<KeyTableActor>,
    exchange: Child<ExchangeActor>,
    controller: Child<ControllerActor>,
    gateway: Child<GatewayActor>,
}

#[derive(Debug)]
struct Child<A: Actor>(Option<WeakAddr<A>>);

impl Children {
    /// Sees to it that somebody is behind each slot: an actor of the node's that has died is made anew, and takes
    /// the place of another that has died.
    pub(super) fn look_after(&mut self, parts: &SupervisorParts) {
        let slots = &parts.slots;
        self.chain.fill(&slots.of_chain(), || {
            Some(parts.on_a_thread("chain validation", parts.chain.clone()))
        });
        self.keystore.fill(&slots.of_keystore(), || {
            Some(parts.on_a_thread("keystore", parts.keystore.clone()))
        });
        self.ratchet.fill(&slots.of_ratchet(), || {
            Some(parts.on_a_thread("ratchet", parts.ratchet.clone()))
        });
        self.key_table
            .fill(&slots.of_key_table(), || Some(parts.key_table().start()));
        self.exchange
            .fill(&slots.of_exchange(), || Some(parts.exchange().start()));
        if parts.controller.is_some() {
            self.controller
                .fill(&slots.of_controller(), || Some(parts.controller().start()));
        }
        self.gateway
            .fill(&slots.of_gateway(), || Some(parts.start_gateway()));
    }
}

impl<A: Actor> Default for Child<A> {
    fn default() -> Self {
        Self(None)
    }
}

impl<A: Actor> Child<A> {
    /// Puts the actor behind those of its places that nobody else is behind; `start` makes it anew, if it can.
    fn fill(&mut self, places: &[&dyn Place<A>], start: impl FnOnce() -> Option<Addr<A>>) {
        if all_whole(places) {
            return;
        }
        let Some(address) = self.running().or_else(start) else {
            return;
        };
        places.iter().for_each(|place| place.give_to(&address));
        self.0 = Some(address.downgrade());
    }

    fn running(&self) -> Option<Addr<A>> {
        let address = self.0.as_ref()?.upgrade()?;
        address.connected().then_some(address)
    }
}

#[cfg(test)]
pub(super) mod tests;
