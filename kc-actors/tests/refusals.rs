//! An exchange whose gateway cannot send.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use kc_actors::Slot;
use kc_actors::chain::{OwnGrant, OwnIdentities};
use kc_actors::exchange::{ExchangeActor, ExchangeParts, KeyWanted, ServeRoot};
use kc_actors::gateway::{GatewayRole, Watch};
use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::chain::{ChainError, ValidIdentity};
use kc_core::provision::Role;
use kc_core::ratchet::Candidates;
use kc_core::types::{KeyId, RootTopic};
use support::{Archive, Own};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// A gateway whose broker does not answer.
struct Silent;

impl Actor for Silent {
    type Context = Context<Self>;
}

impl Handler<Watch> for Silent {
    type Result = ResponseFuture<Result<(), BackendError>>;

    fn handle(&mut self, _: Watch, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

/// A gateway whose broker refuses each record. It reports the time of each attempt.
struct Refused(mpsc::UnboundedSender<Instant>);

impl Actor for Refused {
    type Context = Context<Self>;
}

impl Handler<Watch> for Refused {
    type Result = Result<(), BackendError>;

    fn handle(&mut self, _: Watch, _: &mut Self::Context) -> Self::Result {
        self.0.send(Instant::now()).unwrap();
        Err(BackendError::new(BackendErrorKind::Authorization, "watch"))
    }
}

/// A chain validation with fixed identities: simulated time does not wait for threads that validate chains.
struct Known(Vec<ValidIdentity>);

impl Actor for Known {
    type Context = Context<Self>;
}

impl Handler<OwnIdentities> for Known {
    type Result = Result<Vec<ValidIdentity>, ChainError>;

    fn handle(&mut self, _: OwnIdentities, _: &mut Self::Context) -> Self::Result {
        Ok(self.0.clone())
    }
}

impl Handler<OwnGrant> for Known {
    type Result = Result<(), ChainError>;

    fn handle(&mut self, _: OwnGrant, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

fn root_topic() -> RootTopic {
    "t".into()
}

async fn exchange(watch: Slot<Watch>) -> Addr<ExchangeActor> {
    let own = Own::provisioned(Role::Consumer, "root", Archive::default());
    let identities = own.chain.identities.send(OwnIdentities).await.unwrap();
    let known = Known(identities.unwrap()).start();
    own.chain.identities.replace(&known);
    own.chain.grants.replace(&known);
    let parts = ExchangeParts {
        gateway: GatewayRole {
            watch,
            ..GatewayRole::default()
        },
        ..own.exchange()
    };
    ExchangeActor::new(parts).start()
}

async fn serve(exchange: &Addr<ExchangeActor>) {
    exchange
        .send(ServeRoot {
            root_topic: root_topic(),
        })
        .await
        .unwrap();
}

async fn want(exchange: &Addr<ExchangeActor>) {
    let wanted = KeyWanted {
        root_topic: root_topic(),
        id: KeyId::Short(1),
        known: Candidates::default(),
    };
    exchange.send(wanted).await.unwrap();
}

#[actix::test]
async fn serving_a_root_waits_for_no_broker() {
    let exchange = exchange(Slot::to(&Silent.start())).await;
    timeout(Duration::from_secs(5), serve(&exchange))
        .await
        .unwrap();
}

/// Returns the time between the first attempt of a gateway that refuses and the second one.
async fn pause_after_a_refusal(ask: impl AsyncFnOnce(&Addr<ExchangeActor>)) -> Duration {
    let (asked, mut times) = mpsc::unbounded_channel();
    let exchange = exchange(Slot::to(&Refused(asked).start())).await;
    tokio::time::pause();
    ask(&exchange).await;
    let first = times.recv().await.unwrap();
    times.recv().await.unwrap() - first
}

#[actix::test]
async fn where_it_is_forbidden_keys_are_asked_for_again_after_a_minute() {
    let pause = pause_after_a_refusal(want).await;
    assert_eq!(pause.as_secs(), 60);
}

#[actix::test]
async fn where_it_is_forbidden_requests_are_looked_for_again_after_a_minute() {
    let pause = pause_after_a_refusal(serve).await;
    assert_eq!(pause.as_secs(), 60);
}
