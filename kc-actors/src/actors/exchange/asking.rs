//! The consumer's side: requests out, replies in.

use std::sync::Arc;
use std::time::Duration;

use kc_core::backend::BackendError;
use kc_core::chain::{ChainError, Usage};
use kc_core::exchange::{
    HandledReply, KeyReply, OutgoingRequest, Refusal, Unanswered, decode_key_ids,
};
use kc_core::types::RootTopic;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::ExchangeParts;
use super::machines::Machines;
use crate::actors::retry::delay;
use crate::actors::steps;
use crate::events::NodeEvent;
use crate::handles::Awaiting;
use crate::messages::{
    AwaitedKeys, AwaitedRoot, ControlTopic, OwnGrant, Publish, ReceivedOpeningKeys, SideRecord,
    ValidateChain,
};

/// The longest time without a look at what is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How long to wait before asking anew when the side topics cannot be reached.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Sends requests when they are due.
pub(super) async fn run(parts: ExchangeParts, machines: Machines, wanted: Arc<Notify>) {
    loop {
        let now = parts.clock.now();
        let due = machines.with(|machines| machines.requester.next_deadline(now));
        let wait = due.map_or(LONGEST_SLEEP, |due| due.since(now));
        // Woken early or not: what is due is looked up.
        let _ = timeout(wait.max(Duration::from_millis(1)), wanted.notified()).await;
        let asked = ask(&parts, &machines, &wanted).await;
        tell_awaited(&parts, &machines).await;
        if !asked {
            let mut events = parts.events.listen();
            let _ = timeout(parts.config.interval, events.new_chain()).await;
        }
    }
}

/// Why a request was not sent.
enum Unsent {
    /// Nobody signs it now.
    Unsigned,
    /// The side topics cannot be reached; no error means that there is no gateway.
    Unreachable(Option<BackendError>),
}

/// Sends what is due; false if this node has nothing to sign with.
async fn ask(parts: &ExchangeParts, machines: &Machines, wanted: &Arc<Notify>) -> bool {
    let now = parts.clock.now();
    let due = machines.with(|machines| machines.requester.next_deadline(now));
    if due.is_none_or(|due| due > now) {
        return true;
    }
    let Some(own) = parts.own_identities().await else {
        return false;
    };
    let own = Arc::new(own);
    let next = || {
        let (own, now) = (Arc::clone(&own), parts.clock.now());
        machines.compute(move |machines| {
            let rng = &mut *machines.rng;
            machines.requester.poll_request(&own, now, rng)
        })
    };
    while let Some(Some(request)) = next().await {
        let (parts, machines, wanted) = (parts.clone(), machines.clone(), Arc::clone(wanted));
        // One root's topics may be slow; the others do not wait for them.
        actix::spawn(async move {
            let sent = send(&parts, &request).await;
            let Err(unsent) = sent else {
                return machines.with(|machines| machines.unsent.works(&request.root));
            };
            sleep(tell_unsent(&parts, &machines, &request.root, unsent)).await;
            machines.with(|machines| machines.requester.unsent(&request));
            wanted.notify_one();
        });
    }
    true
}

/// Tells that a request was not sent; after how long it may be.
fn tell_unsent(
    parts: &ExchangeParts,
    machines: &Machines,
    root: &RootTopic,
    unsent: Unsent,
) -> Duration {
    let Unsent::Unreachable(error) = unsent else {
        return RETRY_DELAY;
    };
    parts.events.tell(NodeEvent::NotSent { root: root.clone() });
    let Some(error) = error else {
        return RETRY_DELAY;
    };
    if machines.with(|machines| machines.unsent.fails(root.clone(), &error)) {
        tracing::warn!(target: "kc::exchange", %root, %error, "keys cannot be requested");
    }
    delay(&error, RETRY_DELAY)
}

/// Sends a request to all who may answer it.
async fn send(parts: &ExchangeParts, request: &OutgoingRequest) -> Result<(), Unsent> {
    let OutgoingRequest {
        root,
        kafka_key,
        drafts,
        ..
    } = request;
    // The reply must find somebody who reads.
    let topic = ControlTopic::keys(root);
    let watched = steps::watched(&parts.watch, topic).await;
    watched.map_err(Unsent::Unreachable)?;
    let mut signed = Vec::new();
    for (draft, direct) in drafts {
        let value = parts.signed(draft).await.ok_or(Unsent::Unsigned)?;
        signed.push((value, *direct));
    }
    let direct = drafts.iter().any(|(_, direct)| *direct);
    let ids = decode_key_ids(kafka_key).unwrap_or_default();
    tracing::info!(target: "kc::exchange", %root, keys = ids.len(), direct, "requesting keys");
    parts.events.tell(NodeEvent::Requested {
        root: root.clone(),
        ids,
        direct,
    });
    for (value, direct) in signed {
        let to = |topic| Publish {
            topic,
            kafka_key: kafka_key.clone(),
            value: value.clone(),
        };
        let to_controllers = parts.sent(to(ControlTopic::subscriptions(root)));
        let sent = if direct {
            let to_producers = parts.sent(to(ControlTopic::requests(root)));
            // Who may ask producers needs no controller.
            tokio::join!(to_producers, to_controllers).0
        } else {
            to_controllers.await
        };
        sent.map_err(Unsent::Unreachable)?;
    }
    Ok(())
}

/// Takes a record from a root's topic of keys.
pub(super) async fn receive(parts: &ExchangeParts, machines: &Machines, record: SideRecord) {
    let root = record.root.clone();
    if !machines.with(|machines| machines.requester.may_answer(&root, &record.value)) {
        return;
    }
    match open(parts, machines, record).await {
        None => {}
        Some(Ok(HandledReply { keys, after })) => {
            let ids: Vec<_> = keys.iter().map(|(id, _)| *id).collect();
            tracing::info!(target: "kc::exchange", %root, keys = ids.len(), ?after, "keys received");
            let message = ReceivedOpeningKeys {
                root: root.clone(),
                keys,
            };
            if parts.received.send(message).await.is_ok() {
                parts.events.tell(NodeEvent::Received { root, ids, after });
            }
        }
        Some(Err(refusal)) => refused(parts, machines, root, &refusal),
    }
}

async fn open(
    parts: &ExchangeParts,
    machines: &Machines,
    record: SideRecord,
) -> Option<Result<HandledReply, Refusal>> {
    let message = ValidateChain {
        chain: record.value,
        root: record.root.clone(),
        usage: Usage::Encrypt,
    };
    let chain = parts.validated(message).await?;
    let reply = chain.map_err(Refusal::from).and_then(KeyReply::from_chain);
    let now = parts.clock.now();
    let reply = match reply {
        Ok(reply) => reply,
        Err(refusal) => return Some(Err(refusal)),
    };
    let root = record.root;
    let handling =
        machines.compute(move |machines| machines.requester.handle_reply(&root, &reply, now));
    handling.await
}

/// Counts and tells a refusal. Replies to other consumers' requests are none.
pub(super) fn refused(
    parts: &ExchangeParts,
    machines: &Machines,
    root: RootTopic,
    refusal: &Refusal,
) {
    if matches!(refusal, Refusal::NotOutstanding) {
        return;
    }
    machines.with(|machines| machines.count_refusal(refusal));
    let check = refusal.id();
    tracing::warn!(target: "kc::exchange", %root, %check, %refusal, "refused");
    let reason = refusal.to_string();
    parts.events.tell(NodeEvent::Refused {
        root,
        check,
        reason,
    });
}

/// Says why keys do not come in.
async fn tell_awaited(parts: &ExchangeParts, machines: &Machines) {
    let now = parts.clock.now();
    let (roots, unanswered, without_other) = machines.with(|machines| {
        let requester = &machines.requester;
        let roots: Vec<_> = requester.wanted().map(|(root, _)| root.clone()).collect();
        (
            roots,
            requester.unanswered(now),
            requester.without_other(now),
        )
    });
    let mut awaited = Vec::new();
    for root in roots {
        let own = own_fault(parts, &root).await;
        let in_vain = unanswered.iter().chain(&without_other);
        let of_root = in_vain.filter(|in_vain| in_vain.root == root);
        let in_vain = of_root.flat_map(|of_root| of_root.ids.clone()).collect();
        awaited.push(AwaitedRoot { root, own, in_vain });
    }
    tell_unanswered(parts, machines, unanswered);
    // Without a publisher nobody asks.
    let _ = parts.awaited.send(AwaitedKeys(awaited)).await;
}

async fn own_fault(parts: &ExchangeParts, root: &RootTopic) -> Option<Awaiting> {
    let message = OwnGrant {
        root: root.clone(),
        usages: vec![Usage::EncryptRequest, Usage::EncryptSubscribe],
    };
    match parts.grants.send(message).await.ok()? {
        Ok(()) => None,
        Err(ChainError::Expired(_)) => Some(Awaiting::Expired),
        Err(_) => Some(Awaiting::NotAuthorized),
    }
}

/// Tells of each unanswered key once, as long as it is unanswered.
fn tell_unanswered(parts: &ExchangeParts, machines: &Machines, unanswered: Vec<Unanswered>) {
    let now_unanswered: std::collections::HashSet<_> = unanswered
        .iter()
        .flat_map(|of_root| of_root.ids.iter().map(|id| (of_root.root.clone(), *id)))
        .collect();
    let told = machines.with(|machines| std::mem::replace(&mut machines.told, now_unanswered));
    for Unanswered { root, mut ids } in unanswered {
        ids.retain(|id| !told.contains(&(root.clone(), *id)));
        if !ids.is_empty() {
            tracing::warn!(target: "kc::exchange", %root, keys = ids.len(), "nobody answers");
            parts.events.tell(NodeEvent::Unanswered { root, ids });
        }
    }
}
