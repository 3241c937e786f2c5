//! The producer's side: requests in, replies out.

use std::time::Duration;

use kc_core::chain::Usage;
use kc_core::exchange::{Answer, IncomingRequest, KeyRequest, Refusal, decode_key_ids};
use kc_core::types::{RootTopic, SideTopic};
use tokio::time::sleep;

use super::ExchangeParts;
use super::asking::refused;
use super::machines::Machines;
use crate::events::NodeEvent;
use crate::messages::{HeldKeys, Publish, SideRecord, ValidateChain, Watch};
use crate::port::Port;

/// How long to wait before trying again to read requests.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Has a topic of requests read; says so if it cannot be. False also without a gateway: another may take
/// its place.
pub(super) async fn watched(watch: &Port<Watch>, message: Watch) -> bool {
    let root = message.root.clone();
    match watch.send(message).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(target: "kc::exchange", %root, %error, "requests cannot be read");
            false
        }
        Err(_) => false,
    }
}

pub(super) async fn watch_until_it_works(watch: Port<Watch>, message: Watch) {
    loop {
        sleep(RETRY_DELAY).await;
        if watched(&watch, message.clone()).await {
            return;
        }
    }
}

/// Answers the requests of one poll.
pub(super) async fn answer(parts: &ExchangeParts, machines: &Machines, records: Vec<SideRecord>) {
    let mut requests = Vec::new();
    for record in records {
        let root = record.root.clone();
        match accept(parts, record).await {
            None => {}
            Some(Ok(request)) => requests.push(request),
            Some(Err(refusal)) => refused(parts, machines, root, &refusal),
        }
    }
    if requests.is_empty() {
        return;
    }
    let Some(own) = parts.own_identities().await else {
        return;
    };
    let now = parts.clock.now();
    let roots: Vec<_> = requests
        .iter()
        .map(|request| request.root.clone())
        .collect();
    let answers = machines.compute(move |machines| {
        let rng = &mut *machines.rng;
        machines.replier.handle(&requests, &own, now, rng)
    });
    let answers = answers.await.unwrap_or_default();
    for (root, answer) in roots.into_iter().zip(answers) {
        match answer {
            Ok(answer) => send(parts, machines, answer).await,
            Err(Refusal::Replay) => {
                tracing::debug!(target: "kc::exchange", %root, "request answered before");
            }
            Err(refusal) => refused(parts, machines, root, &refusal),
        }
    }
}

/// A request for keys that are here. Looks for the keys first, which costs little, and at the
/// signatures then; `None` if another producer has the keys.
async fn accept(
    parts: &ExchangeParts,
    record: SideRecord,
) -> Option<Result<IncomingRequest, Refusal>> {
    let ids = match decode_key_ids(&record.kafka_key) {
        Ok(ids) if ids.is_empty() => return None,
        Ok(ids) => ids,
        Err(refusal) => return Some(Err(refusal)),
    };
    let root = record.root;
    let held = HeldKeys {
        root: root.clone(),
        ids,
    };
    let keys = parts.held.send(held).await.ok()?;
    if keys.is_empty() {
        return None;
    }
    let message = ValidateChain {
        chain: record.value,
        root: root.clone(),
        usage: Usage::EncryptRequest,
    };
    let chain = parts.validated(message).await?;
    let request = chain
        .map_err(Refusal::from)
        .and_then(KeyRequest::from_chain);
    Some(request.map(|request| IncomingRequest {
        root,
        request,
        keys,
    }))
}

async fn send(parts: &ExchangeParts, machines: &Machines, answer: Answer) {
    let Answer {
        root,
        kafka_key,
        drafts,
    } = answer;
    let mut sent = false;
    for draft in drafts {
        if let Some(value) = parts.signed(&draft).await {
            sent |= parts.published(reply(&root, &kafka_key, value)).await;
        }
    }
    if sent {
        machines.with(|machines| machines.answered += 1);
        let keys = decode_key_ids(&kafka_key).map_or(0, |ids| ids.len());
        tracing::info!(target: "kc::exchange", %root, keys, "keys handed out");
        parts.events.tell(NodeEvent::Answered { root, keys });
    }
}

fn reply(root: &RootTopic, kafka_key: &[u8], value: Vec<u8>) -> Publish {
    Publish {
        root: root.clone(),
        side: SideTopic::Keys,
        kafka_key: kafka_key.to_vec(),
        value,
    }
}
