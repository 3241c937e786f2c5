mod asking;
mod machines;
mod serving;

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::{
    Actor, AsyncContext, Context, Handler, MessageResult, ResponseFuture, Supervised, WrapFuture,
};
use kc_core::backend::BackendError;
use kc_core::chain::{ChainError, ToBeSigned, ValidIdentity, ValidatedChain};
use kc_core::exchange::{RequesterConfig, Wanted};
use kc_core::types::{RootTopic, SideTopic};
use tokio::sync::Notify;

use self::machines::Machines;
use super::steps;
use crate::clock::Clock;
use crate::events::Events;
use crate::messages::{
    AskExchange, AwaitedKeys, ControlTopic, HeldKeys, KeyWanted, OwnGrant, OwnIdentities, Publish,
    ReceivedOpeningKeys, ServeRoot, SideRecords, Sign, ValidateChain, Watch,
};
use crate::port::Port;

/// What an exchange is made of. Whoever is behind a port can be replaced.
#[derive(Clone, Debug)]
pub struct ExchangeParts {
    /// How to ask; what is offered is also what is accepted.
    pub config: RequesterConfig,
    /// Who validates chains.
    pub validate: Port<ValidateChain>,
    /// Who knows this node's identities.
    pub identities: Port<OwnIdentities>,
    /// Who knows what they are granted.
    pub grants: Port<OwnGrant>,
    /// Who keeps this node's keys for late consumers.
    pub held: Port<HeldKeys>,
    /// Who signs.
    pub sign: Port<Sign>,
    /// Who sends records to side topics.
    pub publish: Port<Publish>,
    /// Who reads side topics.
    pub watch: Port<Watch>,
    /// Who gets the keys that come in.
    pub received: Port<ReceivedOpeningKeys>,
    /// Who is told why keys do not come in.
    pub awaited: Port<AwaitedKeys>,
    /// What time it is.
    pub clock: Clock,
    /// Who is told what happens.
    pub events: Events,
}

/// The key exchange: asks for the keys that this node lacks, and answers for those it keeps.
#[derive(Debug)]
pub struct ExchangeActor {
    parts: ExchangeParts,
    machines: Machines,
    /// Rung when something new is wanted.
    wanted: Arc<Notify>,
    /// The root topics whose requests are read, or will be.
    served: BTreeSet<RootTopic>,
}

impl ExchangeActor {
    /// With nothing wanted and nothing answered yet; `rng` draws ephemeral keys.
    #[must_use]
    pub fn new(parts: ExchangeParts, rng: Box<dyn rand_core::CryptoRng + Send>) -> Self {
        Self {
            machines: Machines::new(&parts.config, rng),
            wanted: Arc::default(),
            served: BTreeSet::new(),
            parts,
        }
    }
}

impl Actor for ExchangeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (parts, machines) = (self.parts.clone(), self.machines.clone());
        let asking = asking::run(parts, machines, Arc::clone(&self.wanted));
        ctx.spawn(asking.into_actor(self));
    }
}

impl Supervised for ExchangeActor {}

impl Handler<KeyWanted> for ExchangeActor {
    type Result = ();

    fn handle(&mut self, message: KeyWanted, _: &mut Self::Context) {
        let KeyWanted { root, id, known } = message;
        let now = self.parts.clock.now();
        let wanted = self.machines.with(|machines| {
            let wanted = machines.requester.want_another(&root, id, known, now);
            machines.bounds_hit += u64::from(wanted == Wanted::Full);
            wanted
        });
        tracing::debug!(target: "kc::exchange", %root, %id, ?wanted, "key wanted");
        self.wanted.notify_one();
    }
}

impl Handler<ServeRoot> for ExchangeActor {
    type Result = ();

    fn handle(&mut self, ServeRoot { root }: ServeRoot, _: &mut Self::Context) {
        let topic = ControlTopic::requests(&root);
        if self.served.insert(root) {
            let watch = self.parts.watch.clone();
            actix::spawn(steps::watch_until_it_works(watch, topic));
        }
    }
}

impl Handler<SideRecords> for ExchangeActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, SideRecords(records): SideRecords, _: &mut Self::Context) -> Self::Result {
        let (parts, machines) = (self.parts.clone(), self.machines.clone());
        let wanted = Arc::clone(&self.wanted);
        Box::pin(async move {
            let mut requests = Vec::new();
            for record in records {
                match record.side {
                    SideTopic::Keys => asking::receive(&parts, &machines, record).await,
                    SideTopic::Requests => requests.push(record),
                    // Controllers' business.
                    SideTopic::Subscriptions => {}
                }
            }
            serving::answer(&parts, &machines, requests).await;
            wanted.notify_one();
        })
    }
}

impl Handler<AskExchange> for ExchangeActor {
    type Result = MessageResult<AskExchange>;

    fn handle(&mut self, _: AskExchange, _: &mut Self::Context) -> Self::Result {
        MessageResult(
            self.machines
                .with(|machines| machines.status(self.parts.clock.now())),
        )
    }
}

impl ExchangeParts {
    async fn own_identities(&self) -> Option<Vec<ValidIdentity>> {
        steps::own_identities(&self.identities, &self.events).await
    }

    async fn signed(&self, draft: &ToBeSigned) -> Option<Vec<u8>> {
        steps::signed(&self.sign, draft).await
    }

    /// Has a record sent. Fails without an error if there is no gateway.
    async fn sent(&self, message: Publish) -> Result<(), Option<BackendError>> {
        steps::sent(&self.publish, message).await
    }

    async fn published(&self, message: Publish) -> bool {
        steps::published(&self.publish, message).await
    }

    /// Has a chain validated; `None` if nobody does any more.
    async fn validated(
        &self,
        message: ValidateChain,
    ) -> Option<Result<ValidatedChain, ChainError>> {
        self.validate.send(message).await.ok()
    }
}
