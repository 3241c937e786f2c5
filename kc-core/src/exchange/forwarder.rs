use super::Refusal;
use super::draft::{Draft, ValidIdentity, Validity, answering};
use super::request::{KeyRequest, forwarded_certificate};
use crate::types::{RootTopic, Timestamp};

/// The controller's part of the exchange: vouches for consumers that may not ask producers themselves.
/// It keeps no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarder {
    /// How long what it signs is valid.
    pub validity: Validity,
}

impl Forwarder {
    /// Re-signs a request that was validated for
    /// [`EncryptSubscribe`](crate::chain::Usage::EncryptSubscribe) under the controller's own chain; its
    /// keys, its random value and its Kafka key stay as they are. A bare key certifies nothing. The drafts go to the root's topic of
    /// requests.
    ///
    /// # Errors
    /// [`Refusal::Layout`] if it asks with other keys than those of key exchanges.
    pub fn forward(
        &self,
        root: &RootTopic,
        request: &KeyRequest,
        own: &[ValidIdentity],
        now: Timestamp,
    ) -> Result<Vec<Draft>, Refusal> {
        let keys = request.chain().keys().as_slice().iter();
        let keys: Option<Vec<_>> = keys.map(|key| key.to_exchange()).collect();
        let keys = keys.ok_or(Refusal::Layout("not key-exchange keys"))?;
        let offer = (request.form(), keys.as_slice());
        let certificate = forwarded_certificate(root, offer, request.random0(), self.validity, now);
        let identities = answering(own, request.root_type());
        Ok(identities
            .map(|identity| identity.draft(&certificate))
            .collect())
    }
}
