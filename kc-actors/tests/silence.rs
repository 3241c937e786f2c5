//! A token that hangs: no caller waits for it without a limit.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use actix::{Actor, Context, Handler, ResponseFuture};
use kc_actors::chain::ChainRole;
use kc_actors::exchange::{ExchangeRole, KeyWanted, ServeRoot};
use kc_actors::key_table::{KeyTableActor, KeyTableParts, PrepareError};
use kc_actors::ratchet::{RatchetError, RatchetRole, SealingKeyFor, TurnRatchet, Turned};
use kc_actors::{CryptoTables, Events, Sealers, Slot};
use kc_core::ratchet::SealingKey;
use kc_core::store::StoreErrorKind;
use kc_core::types::TopicScheme;

/// A ratchet on a token that does not answer, and an exchange that does nothing.
struct Silent;

impl Actor for Silent {
    type Context = Context<Self>;
}

impl Handler<SealingKeyFor> for Silent {
    type Result = ResponseFuture<Result<Arc<SealingKey>, RatchetError>>;

    fn handle(&mut self, _: SealingKeyFor, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

impl Handler<TurnRatchet> for Silent {
    type Result = ResponseFuture<Turned>;

    fn handle(&mut self, _: TurnRatchet, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

impl Handler<ServeRoot> for Silent {
    type Result = ();

    fn handle(&mut self, _: ServeRoot, _: &mut Self::Context) {}
}

impl Handler<KeyWanted> for Silent {
    type Result = ();

    fn handle(&mut self, _: KeyWanted, _: &mut Self::Context) {}
}

#[actix::test]
async fn a_root_topic_is_not_prepared_for_ever() {
    tokio::time::pause();
    let silent = Silent.start();
    let parts = KeyTableParts {
        ratchet: RatchetRole {
            sealing_key: Slot::to(&silent),
            turn: Slot::to(&silent),
            ..RatchetRole::default()
        },
        exchange: ExchangeRole {
            want: Slot::to(&silent),
            serve: Slot::to(&silent),
            ..ExchangeRole::default()
        },
        chain: ChainRole::default(),
        keeps_denied: false,
        events: Events::default(),
    };
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let key_table = KeyTableActor::new(parts, tables.clone(), signals).start();
    let sealers = Sealers::new(tables, Slot::to(&key_table));
    let error = sealers.prepare("t").await.unwrap_err();
    let PrepareError::Ratchet(RatchetError::Ratchet(behind)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(behind.kind(), StoreErrorKind::Timeout);
    assert!(behind.advice().unwrap().contains("token"));
}
