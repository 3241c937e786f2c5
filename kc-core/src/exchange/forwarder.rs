use super::Refusal;
use super::request::{KeyRequest, request_certificate};
use super::validity::{Validity, answering};
use crate::chain::{ToBeSigned, ValidIdentity};
use crate::types::{RootTopic, Timestamp};

/// Re-signs a request that was validated for [`EncryptSubscribe`](crate::chain::Usage::EncryptSubscribe) under a
/// controller's own chain; its keys, its random value and its Kafka key stay as they are. The results go to the root's
/// topic of requests.
///
/// # Errors
/// [`Refusal::Layout`] if it asks with other keys than those of key exchanges.
pub fn forward_request(
    root: &RootTopic,
    request: &KeyRequest,
    own: &[ValidIdentity],
    validity: Validity,
    now: Timestamp,
) -> Result<Vec<ToBeSigned>, Refusal> {
    let keys = request.chain().keys().as_slice().iter();
    let keys: Option<Vec<_>> = keys.map(|key| key.to_exchange()).collect();
    let keys = keys.ok_or(Refusal::Layout("not key-exchange keys"))?;
    let (form, random0) = (request.form(), request.random0());
    let certificate = request_certificate(root, form, &keys, random0, validity, now);
    let identities = answering(own, request.root_type());
    Ok(identities
        .map(|identity| identity.certify(&certificate))
        .collect())
}
