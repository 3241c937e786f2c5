use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};
use kc_core::chain_server::{ChainKey, Renewal, RenewalPolicy};
use kc_core::store::StoreError;
use kc_core::types::ManagementTopic;
use tokio::time::sleep;

use super::steps;
use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::messages::{ControlTopic, OwnIdentities, SendRecord, Sign};
use crate::slot::Slot;

/// Where a chain server keeps the keys that it renews chains for.
pub trait ChainKeyArchive: Debug + Send + Sync {
    /// The keys as they are stored now, by name; keys may be added while the server runs.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&self) -> Result<Vec<(String, ChainKey)>, StoreError>;

    /// Stores a renewed key under its name, durably before it returns.
    ///
    /// # Errors
    /// [`StoreError`].
    fn store(&self, name: &str, key: &ChainKey) -> Result<(), StoreError>;
}

/// What a chain server is made of. Whoever is behind a slot can be replaced.
#[derive(Clone, Debug)]
pub struct ChainServerParts {
    /// When chains are renewed.
    pub policy: RenewalPolicy,
    /// How often to look.
    pub interval: Duration,
    /// The keys whose chains are renewed.
    pub keys: Arc<dyn ChainKeyArchive>,
    /// Who knows this node's identities.
    pub identities: Slot<OwnIdentities>,
    /// Who signs.
    pub sign: Slot<Sign>,
    /// Who sends records to the topic of chains.
    pub send_record: Slot<SendRecord>,
    /// What time it is.
    pub clock: Clock,
    /// Who is told what happens.
    pub events: Events,
}

/// The chain server: renews short-lived chains of other nodes before they end.
#[derive(Debug)]
pub struct ChainServerActor {
    parts: ChainServerParts,
}

impl ChainServerActor {
    /// Looks for what is due as soon as it is started.
    #[must_use]
    pub fn new(parts: ChainServerParts) -> Self {
        Self { parts }
    }
}

impl Actor for ChainServerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let parts = self.parts.clone();
        let serve = async move {
            loop {
                parts.renew_due().await;
                sleep(parts.interval).await;
            }
        };
        ctx.spawn(serve.into_actor(self));
    }
}

impl Supervised for ChainServerActor {}

impl ChainServerParts {
    async fn renew_due(&self) {
        let keys = Arc::clone(&self.keys);
        let keys = match blocking(move || keys.load()).await {
            Some(Ok(keys)) => keys,
            Some(Err(error)) => {
                tracing::error!(target: "kc::chain_server", %error, "chain keys cannot be read");
                return;
            }
            None => return,
        };
        let now = self.clock.now();
        let is_due = |key: &ChainKey| self.policy.due(key).is_some_and(|due| due <= now);
        if !keys.iter().any(|(_, key)| is_due(key)) {
            return;
        }
        let Some(own) = steps::own_identities(&self.identities, &self.events).await else {
            return;
        };
        for (name, key) in keys {
            if let Some(renewal) = self.policy.renew(&key, &own, now) {
                self.renew(name, renewal).await;
            }
        }
    }

    /// Publishes a chain, and stores it as renewed when that is acknowledged: what fails is due again.
    async fn renew(
        &self,
        name: String,
        Renewal {
            to_be_signed,
            renewed,
        }: Renewal,
    ) {
        let Some(chain) = steps::signed(&self.sign, &to_be_signed).await else {
            return;
        };
        let key = renewed.key().clone();
        let message = SendRecord {
            topic: ControlTopic::Management(ManagementTopic::Chains),
            kafka_key: key.to_bytes(),
            value: chain,
        };
        if !steps::record_sent(&self.send_record, message).await {
            return;
        }
        let keys = Arc::clone(&self.keys);
        match blocking(move || keys.store(&name, &renewed)).await {
            Some(Err(error)) => {
                tracing::error!(target: "kc::chain_server", %error, "renewed chain not stored");
            }
            _ => {
                tracing::info!(target: "kc::chain_server", key = key.fingerprint(), "chain renewed");
                self.events.tell(NodeEvent::ChainRenewed { key });
            }
        }
    }
}

/// Files are not waited for on the actor's thread. `None` if the process is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
