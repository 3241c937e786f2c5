//! What several actors do in the same way: who signs, signing, sending, reading.

use std::time::Duration;

use kc_core::backend::BackendError;
use kc_core::chain::{ToBeSigned, ValidIdentity};

use tokio::time::sleep;

use super::retry::{Told, delay};
use crate::events::{Events, NodeEvent};
use crate::messages::{ControlTopic, OwnIdentities, SendRecord, Sign, Watch};
use crate::slot::Slot;
use crate::stores::{Store, ask_in_time};

/// How long to wait before trying again to read a topic.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// The identities to sign with; says so if there is none.
pub(super) async fn own_identities(
    identities: &Slot<OwnIdentities>,
    events: &Events,
) -> Option<Vec<ValidIdentity>> {
    match identities.send(OwnIdentities).await.ok()? {
        Ok(identities) => Some(identities),
        Err(error) => {
            tracing::error!(target: "kc::chain", check = %error.check(), %error, "own chain");
            let reason = format!("{} ({})", error, error.check());
            events.tell(NodeEvent::NoValidChain { reason });
            None
        }
    }
}

/// Signs a certificate, unless that takes too long: nobody who waits may be held up by a token that hangs.
pub(super) async fn signed(sign: &Slot<Sign>, to_be_signed: &ToBeSigned) -> Option<Vec<u8>> {
    let message = Sign {
        key: to_be_signed.signer().clone(),
        message: to_be_signed.certificate().to_vec(),
    };
    let signed = ask_in_time(Store::Keys, sign, message).await.ok()?;
    match signed.ok()? {
        Ok(signed) => to_be_signed.finish(&signed).ok(),
        Err(error) => {
            tracing::debug!(target: "kc::keystore", %error, "signing failed");
            None
        }
    }
}

/// Has a record sent; says so if it cannot be.
pub(super) async fn record_sent(send_record: &Slot<SendRecord>, message: SendRecord) -> bool {
    let topic = message.topic.clone();
    let sent = sent(send_record, message).await;
    if let Err(Some(error)) = &sent {
        tracing::warn!(target: "kc::gateway", ?topic, %error, "sending failed");
    }
    sent.is_ok()
}

/// Has a record sent. Fails without an error if there is no gateway: another may take its place.
pub(super) async fn sent(
    send_record: &Slot<SendRecord>,
    message: SendRecord,
) -> Result<(), Option<BackendError>> {
    match send_record.send(message).await {
        Ok(sent) => sent.map_err(Some),
        Err(_) => Err(None),
    }
}

/// Has a topic read. Fails without an error if there is no gateway: another may take its place.
pub(super) async fn watched(
    watch: &Slot<Watch>,
    topic: ControlTopic,
) -> Result<(), Option<BackendError>> {
    match watch.send(Watch { topic }).await {
        Ok(begun) => begun.map_err(Some),
        Err(_) => Err(None),
    }
}

/// Has a topic read as soon as that is possible; says so if it is not soon, and again if the reason changes. (That there
/// is no broker, whoever starts the node has told.)
pub(crate) async fn watch_until_it_works(watch: Slot<Watch>, topic: ControlTopic) {
    let (mut told, mut soon) = (Told::default(), true);
    while let Err(error) = watched(&watch, topic.clone()).await {
        let mut wait = RETRY_DELAY;
        if let Some(error) = error {
            wait = delay(&error, RETRY_DELAY);
            if (error.is_fatal() || !soon) && told.fails((), &error) {
                tracing::warn!(target: "kc::gateway", ?topic, %error, "cannot be read yet");
            }
        }
        soon = false;
        sleep(wait).await;
    }
}
