//! Answering many requests at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, MessageResult};
use kc_actors::messages::{
    HeldKeys, KeyWanted, OwnIdentities, Publish, SideRecord, SideRecords, Sign,
};
use kc_actors::{Clock, ExchangeActor, ExchangeParts, Port};
use kc_core::backend::BackendError;
use kc_core::exchange::Requester;
use kc_core::provision::Role;
use kc_core::ratchet::{Candidates, TopicSecret};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, RootTopic, SideTopic};
use rand::rngs::StdRng;
use rand_core::{Rng, TryCryptoRng, TryRng};
use support::{Archive, Own};
use tokio::sync::mpsc;

const REQUESTS: usize = 20;

/// Has any key, and sends everything to nobody.
struct Obliging;

impl Actor for Obliging {
    type Context = Context<Self>;
}

impl Handler<HeldKeys> for Obliging {
    type Result = MessageResult<HeldKeys>;

    fn handle(&mut self, message: HeldKeys, _: &mut Self::Context) -> Self::Result {
        let secret = || TopicSecret::from(Secret::fill_with(|secret| secret.fill(7)));
        MessageResult(message.ids.into_iter().map(|id| (id, secret())).collect())
    }
}

impl Handler<Publish> for Obliging {
    type Result = Result<(), BackendError>;

    fn handle(&mut self, _: Publish, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

/// Counts draws; the first tells that it is made, and waits until it may.
struct Gated {
    inner: StdRng,
    draws: Arc<AtomicUsize>,
    drawing: mpsc::UnboundedSender<()>,
    go: std_mpsc::Receiver<()>,
}

impl Gated {
    fn draw(&mut self) -> &mut StdRng {
        if self.draws.fetch_add(1, Ordering::Relaxed) == 0 {
            self.drawing.send(()).unwrap();
            self.go.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        &mut self.inner
    }
}

impl TryRng for Gated {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.draw().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.draw().fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Gated {}

fn root() -> RootTopic {
    "t".into()
}

/// A request of a consumer that has just been started.
async fn request(consumer: &Own) -> SideRecord {
    let own = consumer.identities.send(OwnIdentities).await.unwrap();
    let mut requester = Requester::new(consumer.exchange().config);
    let now = Clock::system().now();
    requester.want(&root(), KeyId::Short(1), now);
    let request = requester.poll_request(&own.unwrap(), now, &mut support::rng());
    let request = request.unwrap();
    let (draft, _) = request.drafts.first().unwrap();
    let signing = consumer.sign.send(Sign {
        key: draft.signer().clone(),
        message: draft.certificate().to_vec(),
    });
    SideRecord {
        root: root(),
        side: SideTopic::Requests,
        kafka_key: request.kafka_key,
        value: draft.finish(&signing.await.unwrap().unwrap()).unwrap(),
    }
}

fn exchange(producer: &Own, clock: Clock, rng: Gated) -> Addr<ExchangeActor> {
    let obliging = Obliging.start();
    let parts = ExchangeParts {
        held: Port::to(&obliging),
        publish: Port::to(&obliging),
        clock,
        ..producer.exchange()
    };
    ExchangeActor::new(parts, Box::new(rng)).start()
}

#[actix::test]
async fn nobody_waits_for_the_key_exchanges_of_a_whole_poll() {
    let own = |role| Own::provisioned(role, "root", Archive::default());
    let (consumer, producer) = (own(Role::Consumer), own(Role::Producer));
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        requests.push(request(&consumer).await);
    }
    let (go, may_go) = std_mpsc::channel();
    let (drawing, mut first_draw) = mpsc::unbounded_channel();
    let draws = Arc::new(AtomicUsize::new(0));
    let rng = Gated {
        inner: support::rng(),
        draws: Arc::clone(&draws),
        drawing,
        go: may_go,
    };
    // Whoever handles a wanted key looks at the clock, and then waits for the key exchange that is computed.
    let waits = Arc::new(AtomicBool::new(false));
    let clock = {
        let waits = Arc::clone(&waits);
        Clock::new(move || {
            if waits.swap(false, Ordering::Relaxed) {
                go.send(()).unwrap();
            }
            Clock::system().now()
        })
    };
    let exchange = exchange(&producer, clock, rng);

    let answering = exchange.send(SideRecords(requests));
    let meanwhile = async {
        first_draw.recv().await.unwrap();
        waits.store(true, Ordering::Relaxed);
        let wanted = KeyWanted {
            root: root(),
            id: KeyId::Short(2),
            known: Candidates::default(),
        };
        exchange.send(wanted).await.unwrap();
        draws.load(Ordering::Relaxed)
    };
    let (answered, drawn) = tokio::join!(answering, meanwhile);
    answered.unwrap();
    let all = draws.load(Ordering::Relaxed);
    assert!(all >= REQUESTS, "{all} draws");
    assert!(drawn < all / 2, "waited for {drawn} of {all} draws");
}
