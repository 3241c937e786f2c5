use actix::{Actor, Addr};

use super::parts::SupervisorParts;
use super::slots::{Place, all_connected};

/// Starts an actor of the node's own behind each slot that has none, or whose own has died.
pub(super) fn restart_dead(parts: &SupervisorParts) {
    let slots = &parts.slots;
    fill(&slots.of_chain(), || {
        parts.on_a_thread("chain validation", parts.chain.clone())
    });
    fill(&slots.of_keystore(), || {
        parts.on_a_thread("keystore", parts.keystore.clone())
    });
    fill(&slots.of_ratchet(), || {
        parts.on_a_thread("ratchet", parts.ratchet.clone())
    });
    fill(&slots.of_key_table(), || parts.key_table().start());
    fill(&slots.of_exchange(), || parts.exchange().start());
    if parts.controller.is_some() {
        fill(&slots.of_controller(), || parts.controller().start());
    }
    fill(&slots.of_gateway(), || parts.start_gateway());
}

fn fill<A: Actor>(places: &[&dyn Place<A>], start: impl FnOnce() -> Addr<A>) {
    if !all_connected(places) {
        let address = start();
        places.iter().for_each(|place| place.connect(&address));
    }
}

#[cfg(test)]
pub(super) mod tests;
