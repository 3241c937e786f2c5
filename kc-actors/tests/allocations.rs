//! Sealing and opening allocate only their output.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::alloc::System;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use kc_actors::exchange::{ExchangeRole, KeyWanted, ServeRoot};
use kc_actors::key_table::{KeyTableActor, KeyTableParts};
use kc_actors::{CryptoTables, Events, Opener, Sealers, Slot};
use kc_core::message::{ToSeal, sealed_len};
use kc_core::provision::Role;
use kc_core::ratchet::Component;
use kc_core::types::TopicScheme;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Archive, Own};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: usize = 1000;

/// An exchange that does nothing.
struct NoExchange;

impl Actor for NoExchange {
    type Context = Context<Self>;
}

impl Handler<KeyWanted> for NoExchange {
    type Result = ();

    fn handle(&mut self, _: KeyWanted, _: &mut Self::Context) {}
}

impl Handler<ServeRoot> for NoExchange {
    type Result = ();

    fn handle(&mut self, _: ServeRoot, _: &mut Self::Context) {}
}

/// Returns the lowest number of allocations over several runs, because other threads may allocate meanwhile.
fn allocations(mut run: impl FnMut()) -> usize {
    let counted = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        run();
        let change = region.change();
        change.allocations + change.reallocations
    });
    counted.min().unwrap()
}

#[actix::test]
async fn no_allocation_per_message_beyond_the_output() {
    let own = Own::provisioned(Role::Prodcon, "root", Archive::default());
    let exchange = NoExchange.start();
    let parts = KeyTableParts {
        ratchet: own.ratchet,
        exchange: ExchangeRole {
            want: Slot::to(&exchange),
            serve: Slot::to(&exchange),
            ..ExchangeRole::default()
        },
        chain: own.chain,
        keeps_denied: false,
        events: Events::default(),
    };
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let key_table = KeyTableActor::new(parts, tables.clone(), signals).start();
    let sealers = Sealers::new(tables.clone(), Slot::to(&key_table));
    let opener = Opener::new(tables, Slot::to(&key_table), Duration::ZERO);
    let sealer = sealers.prepare("t.a").await.unwrap();

    let plaintext = [7; 1024];
    let mut sealed = Vec::with_capacity(sealed_len(plaintext.len()));
    let sealing = allocations(|| {
        for _ in 0..MESSAGES {
            sealed.clear();
            let value = Component::Value;
            sealer.seal(value, &plaintext, &mut sealed).unwrap();
        }
    });
    assert_eq!(sealing, 0);

    let mut opened = Vec::with_capacity(sealed.len());
    let opening = allocations(|| {
        for _ in 0..MESSAGES {
            let value = Component::Value;
            opener
                .try_open_into("t.a", value, &sealed, &mut opened)
                .unwrap();
        }
    });
    assert_eq!(opened, plaintext);
    assert_eq!(opening, 0);

    let outputs = allocations(|| {
        for _ in 0..MESSAGES {
            opener.try_open_value("t.a", &sealed).unwrap();
        }
    });
    assert_eq!(outputs, MESSAGES);

    let mut buffers = vec![Vec::new(); MESSAGES];
    let mut batch: Vec<_> = buffers
        .iter_mut()
        .map(|sealed| ToSeal {
            plaintext: &plaintext,
            sealed,
        })
        .collect();
    let sealing = allocations(|| {
        for message in &mut batch {
            *message.sealed = Vec::new();
        }
        sealer.seal_batch(Component::Value, &mut batch).unwrap();
    });
    assert_eq!(sealing, MESSAGES, "one for each output");

    let mut opened = Vec::with_capacity(MESSAGES);
    let opening = allocations(|| {
        opened.clear();
        let sealed = buffers.iter().map(Vec::as_slice);
        opener.try_open_batch("t.a", Component::Value, sealed, &mut opened);
    });
    assert!(opened.iter().all(Result::is_ok));
    assert_eq!(
        opening, 3,
        "the plaintexts, their count of owners, and their places"
    );
}
