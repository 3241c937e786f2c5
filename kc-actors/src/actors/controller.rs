use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture, Supervised};
use kc_core::chain::{Usage, ValidIdentity};
use kc_core::exchange::{Forwarder, KeyRequest, Refusal, RefusalId, Validity, decode_key_ids};
use kc_core::types::{RootTopic, SideTopic};
use tokio::time::sleep;

use super::steps;
use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::messages::{
    AskController, ControlTopic, ControllerStatus, OwnIdentities, Publish, SideRecord, SideRecords,
    Sign, ValidateChain,
};
use crate::port::Port;

/// How often sending a request is tried; its consumer will ask anew.
const PUBLISH_ATTEMPTS: usize = 3;
/// How long to wait before it is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a controller is made of. Whoever is behind a port can be replaced.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// How long what it signs is valid.
    pub validity: Validity,
    /// Who validates chains.
    pub validate: Port<ValidateChain>,
    /// Who knows this node's identities.
    pub identities: Port<OwnIdentities>,
    /// Who signs.
    pub sign: Port<Sign>,
    /// Who sends records to side topics.
    pub publish: Port<Publish>,
    /// What time it is.
    pub clock: Clock,
    /// Who is told what happens.
    pub events: Events,
}

/// The controller: vouches for consumers that may not ask producers themselves. When [`SideRecords`] is
/// answered, all that it vouched for is acknowledged by the broker.
#[derive(Debug)]
pub struct ControllerActor {
    parts: ControllerParts,
    status: Arc<Mutex<ControllerStatus>>,
}

impl ControllerActor {
    /// Has vouched for nobody yet.
    #[must_use]
    pub fn new(parts: ControllerParts) -> Self {
        Self {
            parts,
            status: Arc::default(),
        }
    }
}

impl Actor for ControllerActor {
    type Context = Context<Self>;
}

impl Supervised for ControllerActor {}

impl Handler<SideRecords> for ControllerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, SideRecords(records): SideRecords, _: &mut Self::Context) -> Self::Result {
        let (parts, status) = (self.parts.clone(), Arc::clone(&self.status));
        Box::pin(async move {
            let to_controllers = |record: &SideRecord| record.side == SideTopic::Subscriptions;
            let records: Vec<_> = records.into_iter().filter(to_controllers).collect();
            if records.is_empty() {
                return;
            }
            let Some(own) = steps::own_identities(&parts.identities, &parts.events).await else {
                return;
            };
            // One root's topics may be slow; the others do not wait for them.
            let own = Arc::new(own);
            let forwarding: Vec<_> = records
                .into_iter()
                .map(|record| {
                    let (parts, status, own) =
                        (parts.clone(), Arc::clone(&status), Arc::clone(&own));
                    actix::spawn(async move { parts.handle(record, &own, &status).await })
                })
                .collect();
            for forwarded in forwarding {
                // It ends early only if the process does.
                let _ = forwarded.await;
            }
        })
    }
}

impl Handler<AskController> for ControllerActor {
    type Result = MessageResult<AskController>;

    fn handle(&mut self, _: AskController, _: &mut Self::Context) -> Self::Result {
        MessageResult(with(&self.status, |status| status.clone()))
    }
}

impl ControllerParts {
    async fn handle(
        &self,
        record: SideRecord,
        own: &[ValidIdentity],
        status: &Mutex<ControllerStatus>,
    ) {
        let root = record.root.clone();
        match self.forward(record, own).await {
            None => {}
            Some(Ok(keys)) => {
                with(status, |status| status.forwarded += 1);
                tracing::info!(target: "kc::controller", %root, keys, "vouched for a request");
                self.events.tell(NodeEvent::Forwarded { root, keys });
            }
            Some(Err(refusal)) => self.refused(status, root, &refusal),
        }
    }

    /// Re-signs a request for the producers; `None` if that could not be done now.
    async fn forward(
        &self,
        record: SideRecord,
        own: &[ValidIdentity],
    ) -> Option<Result<usize, Refusal>> {
        let keys = match decode_key_ids(&record.kafka_key) {
            Ok(ids) => ids.len(),
            Err(refusal) => return Some(Err(refusal)),
        };
        let message = ValidateChain {
            chain: record.value,
            root: record.root.clone(),
            usage: Usage::EncryptSubscribe,
        };
        let chain = self.validate.send(message).await.ok()?;
        let request = chain
            .map_err(Refusal::from)
            .and_then(KeyRequest::from_chain);
        let forwarder = Forwarder {
            validity: self.validity,
        };
        let now = self.clock.now();
        let drafts =
            request.and_then(|request| forwarder.forward(&record.root, &request, own, now));
        let drafts = match drafts {
            Ok(drafts) => drafts,
            Err(refusal) => return Some(Err(refusal)),
        };
        for draft in drafts {
            let request = Publish {
                topic: ControlTopic::requests(&record.root),
                kafka_key: record.kafka_key.clone(),
                value: steps::signed(&self.sign, &draft).await?,
            };
            if !self.published(request).await {
                return None;
            }
        }
        Some(Ok(keys))
    }

    /// The position behind a request is committed when this returns, so sending is tried more than once, if
    /// that can help.
    async fn published(&self, request: Publish) -> bool {
        for _ in 1..PUBLISH_ATTEMPTS {
            match self.publish.send(request.clone()).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) if !error.is_retriable() => break,
                _ => sleep(RETRY_DELAY).await,
            }
        }
        steps::published(&self.publish, request).await
    }

    fn refused(&self, status: &Mutex<ControllerStatus>, root: RootTopic, refusal: &Refusal) {
        let check: RefusalId = refusal.id();
        let count = |refused: &mut BTreeMap<RefusalId, u64>| {
            *refused.entry(check).or_default() += 1;
        };
        with(status, |status| count(&mut status.refused));
        tracing::warn!(target: "kc::controller", %root, %check, %refusal, "refused");
        let reason = refusal.to_string();
        self.events.tell(NodeEvent::Refused {
            root,
            check,
            reason,
        });
    }
}

fn with<T>(
    status: &Mutex<ControllerStatus>,
    use_status: impl FnOnce(&mut ControllerStatus) -> T,
) -> T {
    use_status(&mut status.lock().unwrap_or_else(PoisonError::into_inner))
}
