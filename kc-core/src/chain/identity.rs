use rand_core::CryptoRng;

use super::validate::VerifyLink;
use super::{ChainError, Demand, MaxAge, TrustStore, UnverifiedChain, Usage, ValidatedChain};
use crate::keys::{KeyError, Signer, VerifyingKey};
use crate::types::Timestamp;

/// One of a node's signing keys, with the chain that certifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    key: VerifyingKey,
    chain: Option<Vec<u8>>,
}

/// An identity whose chain was valid at the time of its check. The node signs requests and replies with such
/// identities.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidIdentity {
    key: VerifyingKey,
    chain: Vec<u8>,
    may_request: bool,
    max_age: MaxAge,
}

/// A message that is complete except for the signature of its last certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToBeSigned {
    signer: VerifyingKey,
    chain: Vec<u8>,
    certificate: Vec<u8>,
}

impl Identity {
    /// Creates an identity from a signing key and, if the key has one, its chain.
    #[must_use]
    pub fn new(key: VerifyingKey, chain: Option<Vec<u8>>) -> Self {
        Self { key, chain }
    }

    /// Returns the public half of the signing key.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Returns the chain as stored.
    #[must_use]
    pub fn chain(&self) -> Option<&[u8]> {
        self.chain.as_deref()
    }

    /// Validates this identity's chain. The chain must meet `demand`, and its last certificate must be for this
    /// identity's key.
    ///
    /// # Errors
    /// Returns [`ChainError::NoChain`] if this identity has no chain, and [`ChainError::OtherKey`] if the last
    /// certificate is for another key. Otherwise returns the [`ChainError`] of the check that refused the chain.
    pub fn validate(&self, trust: &TrustStore, demand: &Demand<'_>) -> Result<(), ChainError> {
        self.prove(trust, demand).map(drop)
    }

    fn prove(&self, trust: &TrustStore, demand: &Demand<'_>) -> Result<ValidatedChain, ChainError> {
        self.prove_by(trust, demand, &mut |key, link, _| key.verify(link))
    }

    /// Validates like [`validate`](Self::validate), but verifies the signatures with `verify`.
    pub(super) fn prove_by(
        &self,
        trust: &TrustStore,
        demand: &Demand<'_>,
        verify: &mut VerifyLink<'_>,
    ) -> Result<ValidatedChain, ChainError> {
        let chain = self.chain.as_deref().ok_or(ChainError::NoChain)?;
        let chain = UnverifiedChain::parse(chain)?;
        let validated = chain.validate_by(trust, demand, verify, &mut None)?;
        if validated.keys().signer() == Some(&self.key) {
            Ok(validated)
        } else {
            Err(ChainError::OtherKey)
        }
    }

    /// Validates the chain and returns this identity for signing.
    ///
    /// # Errors
    /// Returns the same errors as [`validate`](Self::validate).
    pub fn validated(
        &self,
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<ValidIdentity, ChainError> {
        Ok(self.proven_by(&self.prove(trust, &Demand::at(now))?))
    }

    /// Returns this identity for signing, given its validated chain.
    pub(super) fn proven_by(&self, chain: &ValidatedChain) -> ValidIdentity {
        ValidIdentity {
            key: self.key.clone(),
            chain: self.chain.clone().unwrap_or_default(),
            // Only one root signed the first certificate, so no other root can grant more.
            may_request: chain.grants(Usage::EncryptRequest),
            max_age: chain.max_age(),
        }
    }
}

impl ValidIdentity {
    /// Returns the public half of the signing key.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Returns the end of the chain's validity.
    #[must_use]
    pub fn max_age(&self) -> MaxAge {
        self.max_age
    }

    /// Returns whether the chain permits this node to send requests directly to producers, and not only through a
    /// controller.
    #[must_use]
    pub fn may_request(&self) -> bool {
        self.may_request
    }

    pub(crate) fn certify(&self, certificate: &[u8]) -> ToBeSigned {
        ToBeSigned {
            signer: self.key.clone(),
            chain: self.chain.clone(),
            certificate: certificate.to_vec(),
        }
    }
}

impl ToBeSigned {
    /// Returns the key that must sign.
    #[must_use]
    pub fn signer(&self) -> &VerifyingKey {
        &self.signer
    }

    /// Returns the bytes to sign.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Returns the finished message: a chain that ends with the signed certificate.
    ///
    /// # Errors
    /// Returns a [`ChainError`] if the stored chain cannot be parsed. This does not happen with a validated chain.
    pub fn finish(&self, signed: &[u8]) -> Result<Vec<u8>, ChainError> {
        Ok(UnverifiedChain::parse(&self.chain)?.extended(signed))
    }

    /// Signs the certificate and returns the finished message.
    ///
    /// # Errors
    /// Returns the [`KeyError`] of the signer if the signer fails. Returns [`KeyError::Mismatch`] if the stored chain
    /// cannot be parsed; this does not happen with a validated chain.
    pub fn sign(&self, signer: &dyn Signer, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        let signed = signer.sign(&self.certificate, rng)?;
        self.finish(&signed).map_err(|_| KeyError::Mismatch)
    }
}

#[cfg(test)]
impl ValidIdentity {
    /// Creates an identity without validating its chain.
    pub(crate) fn of_chain(key: VerifyingKey, chain: Vec<u8>, max_age: MaxAge) -> Self {
        Self {
            key,
            chain,
            may_request: false,
            max_age,
        }
    }
}
