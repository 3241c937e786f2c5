//! The producer's side: requests in, replies out.

use std::sync::Arc;

use kc_core::chain::{Usage, ValidIdentity};
use kc_core::exchange::{Answer, IncomingRequest, KeyRequest, Refusal, decode_key_ids};

use super::ExchangeParts;
use super::asking::refused;
use super::machines::Machines;
use crate::events::NodeEvent;
use crate::messages::{ControlTopic, HeldKeys, Publish, SideRecord, ValidateChain};
use crate::stores::{Store, ask_in_time};

/// Answers the requests of one poll.
pub(super) async fn answer(parts: &ExchangeParts, machines: &Machines, records: Vec<SideRecord>) {
    let mut requests = accept_all(parts, machines, records).await;
    if requests.is_empty() {
        return;
    }
    let Some(own) = parts.own_identities().await else {
        return;
    };
    // Where a consumer sent both forms of one request, the list form is answered.
    requests.sort_by_key(|incoming| incoming.request.form());
    let own: Arc<[_]> = own.into();
    let mut sending = Vec::new();
    for incoming in requests {
        let root = incoming.root.clone();
        match compute(parts, machines, incoming, &own).await {
            // One root's topic may be slow; the others do not wait for it.
            Some(Ok(answer)) => {
                let sent = send(parts.clone(), machines.clone(), answer);
                sending.push(actix::spawn(sent));
            }
            Some(Err(Refusal::Replay)) => {
                tracing::debug!(target: "kc::exchange", %root, "request answered before");
            }
            Some(Err(refusal)) => refused(parts, machines, root, &refusal),
            None => {}
        }
    }
    for sent in sending {
        // It ends early only if the process does.
        let _ = sent.await;
    }
}

/// The requests for keys that are here.
async fn accept_all(
    parts: &ExchangeParts,
    machines: &Machines,
    records: Vec<SideRecord>,
) -> Vec<IncomingRequest> {
    // Side by side: a ratchet that waits for its token would hold up one after the other.
    let accepting = records.into_iter().map(|record| {
        let (root, parts) = (record.root.clone(), parts.clone());
        (
            root,
            actix::spawn(async move { accept(&parts, record).await }),
        )
    });
    let accepting: Vec<_> = accepting.collect();
    let mut requests = Vec::new();
    for (root, accepted) in accepting {
        // It is missing only if the process ends.
        match accepted.await.ok().flatten() {
            None => {}
            Some(Ok(request)) => requests.push(request),
            Some(Err(refusal)) => refused(parts, machines, root, &refusal),
        }
    }
    requests
}

/// The answer to one request, so that nobody waits for more than one key exchange; `None` if the process is
/// ending.
async fn compute(
    parts: &ExchangeParts,
    machines: &Machines,
    incoming: IncomingRequest,
    own: &Arc<[ValidIdentity]>,
) -> Option<Result<Answer, Refusal>> {
    let (own, now) = (Arc::clone(own), parts.clock.now());
    let answers = machines.compute(move |machines| {
        let rng = &mut *machines.rng;
        machines.replier.handle(&[incoming], &own, now, rng)
    });
    answers.await?.pop()
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
    let keys = ask_in_time(Store::Ratchet, &parts.held, held).await.ok()?;
    let keys = keys.ok()?;
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

async fn send(parts: ExchangeParts, machines: Machines, answer: Answer) {
    let mut sent = false;
    for draft in &answer.drafts {
        if let Some(value) = parts.signed(draft).await {
            sent |= parts.published(reply(&answer, value)).await;
        }
    }
    if !sent {
        return machines.with(|machines| machines.replier.unsent(&answer));
    }
    machines.with(|machines| machines.answered += 1);
    let root = answer.root;
    let keys = decode_key_ids(&answer.kafka_key).map_or(0, |ids| ids.len());
    tracing::info!(target: "kc::exchange", %root, keys, "keys handed out");
    parts.events.tell(NodeEvent::Answered { root, keys });
}

fn reply(answer: &Answer, value: Vec<u8>) -> Publish {
    Publish {
        topic: ControlTopic::keys(&answer.root),
        kafka_key: answer.kafka_key.clone(),
        value,
    }
}
