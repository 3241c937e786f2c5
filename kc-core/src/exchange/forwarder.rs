use super::Refusal;
use super::request::{KeyRequest, forwarded_certificate};
use super::validity::{Validity, answering};
use crate::chain::{ToBeSigned, ValidIdentity};
use crate::types::{RootTopic, Timestamp};

/// Re-signs a request that was validated for [`EncryptSubscribe`](crate::chain::Usage::EncryptSubscribe) under a
/// controller's own chain; its keys, its random value and its Kafka key stay as they are. A bare key gets a certificate that
/// certifies nothing. The results go to the root's topic of requests.
///
/// # Errors
/// [`Refusal::Layout`] if it asks with other keys than those of key exchanges.
pub fn forward_request(
    root_topic: &RootTopic,
    request: &KeyRequest,
    own: &[ValidIdentity],
    validity: Validity,
    now: Timestamp,
) -> Result<Vec<ToBeSigned>, Refusal> {
    let keys = request.chain().keys().as_slice().iter();
    let keys: Option<Vec<_>> = keys.map(|key| key.to_exchange()).collect();
    let keys = keys.ok_or(Refusal::Layout("not key-exchange keys"))?;
    let offer = (request.form(), keys.as_slice());
    let certificate = forwarded_certificate(root_topic, offer, request.random0(), validity, now);
    let identities = answering(own, request.root_type());
    Ok(identities
        .map(|identity| identity.certify(&certificate))
        .collect())
}
