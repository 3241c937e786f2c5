//! The chain server: it renews short-lived chains of other nodes before they expire. Its actor receives no messages.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, WrapFuture};
use kc_core::chain::{ToBeSigned, ValidIdentity};
use kc_core::chain_server::{ChainKey, Renewal, RenewalPolicy};
use kc_core::store::ChainKeyArchive;
use kc_core::text::with_sources;
use kc_core::types::ManagementTopic;
use tokio::time::sleep;

use super::chain::{ChainRole, OwnIdentities};
use super::gateway::{ControlTopic, GatewayRole, SendRecord};
use super::keystore::{KeystoreRole, Sign};
use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::stores::{Store, ask_in_time};

/// The parts of a chain server actor.
#[derive(Clone, Debug)]
pub struct ChainServerParts {
    /// The policy that decides when chains are renewed.
    pub policy: RenewalPolicy,
    /// The time between two searches for chains to renew.
    pub interval: Duration,
    /// The archive of the keys whose chains are renewed.
    pub keys: Arc<dyn ChainKeyArchive>,
    /// The role that returns the identities of this node.
    pub chain: ChainRole,
    /// The role that signs the renewed chains.
    pub keystore: KeystoreRole,
    /// The role that sends renewed chains to the management topic `chains`.
    pub gateway: GatewayRole,
    /// The clock.
    pub clock: Clock,
    /// The destination of events.
    pub events: Events,
}

/// The actor that makes this node a chain server: it renews the chains of other nodes.
#[derive(Debug)]
pub struct ChainServerActor {
    parts: ChainServerParts,
}

impl ChainServerActor {
    /// Returns an actor that searches for chains to renew as soon as it is started.
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

impl ChainServerParts {
    async fn renew_due(&self) {
        let keys = Arc::clone(&self.keys);
        let keys = match blocking(move || keys.load()).await {
            Some(Ok(keys)) => keys,
            Some(Err(error)) => {
                tracing::error!(target: "kc::chain_server", error = %with_sources(&error), "list of the chains to renew cannot be read");
                return;
            }
            None => return,
        };
        let now = self.clock.now();
        let is_due = |key: &ChainKey| self.policy.due(key).is_some_and(|due| due <= now);
        if !keys.iter().any(|(_, key)| is_due(key)) {
            return;
        }
        let Some(own) = self.own_identities().await else {
            return;
        };
        for (name, key) in keys {
            if let Some(renewal) = self.policy.renew(&key, &own, now) {
                self.renew(name, renewal).await;
            }
        }
    }

    /// Signs and sends a renewed chain, and stores the chain after the broker has acknowledged it. If one of these
    /// steps fails, the chain is renewed again at the next search.
    async fn renew(
        &self,
        name: String,
        Renewal {
            to_be_signed,
            renewed,
        }: Renewal,
    ) {
        let Some(chain) = self.signed(&to_be_signed).await else {
            return;
        };
        let key = renewed.key().clone();
        let message = SendRecord {
            topic: ControlTopic::Management(ManagementTopic::Chains),
            kafka_key: key.to_bytes(),
            value: chain,
        };
        match self.gateway.send_record.send(message).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(target: "kc::chain_server", key = key.fingerprint(), error = %with_sources(&error), "renewed chain not sent");
                return;
            }
            // The gateway has died, and will be restarted.
            Err(_) => return,
        }
        let keys = Arc::clone(&self.keys);
        match blocking(move || keys.store(&name, &renewed)).await {
            Some(Ok(())) => {
                tracing::info!(target: "kc::chain_server", key = key.fingerprint(), "chain renewed");
                self.events.tell(NodeEvent::ChainRenewed { key });
            }
            Some(Err(error)) => {
                tracing::error!(target: "kc::chain_server", error = %with_sources(&error), "renewed chain not stored");
            }
            None => tracing::error!(target: "kc::chain_server", "renewed chain not stored"),
        }
    }

    /// Returns the identities of this node whose chains are valid now. If no chain is valid, logs the reason and sends
    /// an event.
    async fn own_identities(&self) -> Option<Vec<ValidIdentity>> {
        match self.chain.identities.send(OwnIdentities).await.ok()? {
            Ok(identities) => Some(identities),
            Err(error) => {
                tracing::error!(target: "kc::chain", check = %error.check(), error = %with_sources(&error), "chain of this node is not valid");
                self.events.tell(NodeEvent::no_valid_chain(&error));
                None
            }
        }
    }

    /// Signs a certificate. Returns `None` if signing fails or takes too long.
    async fn signed(&self, to_be_signed: &ToBeSigned) -> Option<Vec<u8>> {
        let message = Sign {
            key: to_be_signed.signer().clone(),
            message: to_be_signed.certificate().to_vec(),
        };
        let signed = ask_in_time(Store::Keys, &self.keystore.sign, message).await;
        match signed.ok()?.ok()? {
            Ok(signed) => to_be_signed.finish(&signed).ok(),
            Err(error) => {
                tracing::debug!(target: "kc::keystore", error = %with_sources(&error), "signing failed");
                None
            }
        }
    }
}

/// Runs `work` on another thread, because `work` waits for files. Returns `None` if `work` panics, or if the runtime
/// shuts down before `work` starts.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
