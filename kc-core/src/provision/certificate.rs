//! Certificates as provisioning writes them, and what signed ones prove.

use super::ProvisionError;
use crate::chain::{
    Constraints, Demand, MaxAge, TrustEntry, TrustStore, UnverifiedChain, Usage, ValidatedChain,
    encode_certificate,
};
use crate::keys::VerifyingKey;
use crate::types::Timestamp;

/// The bytes of a certificate, to be signed.
pub(super) fn certificate(
    max_age: MaxAge,
    constraints: &Constraints,
    key: &VerifyingKey,
) -> Vec<u8> {
    encode_certificate(
        max_age,
        &constraints.encode_usages_first(),
        |writer| key.write_to(writer),
        (0, |_| {}),
    )
}

/// What a chain proves under a root of trust and nothing else.
pub(super) fn prove(
    chain: &[u8],
    root: &VerifyingKey,
    now: Timestamp,
) -> Result<ValidatedChain, ProvisionError> {
    let trust = TrustStore::new(Some(vec![TrustEntry::unrestricted(root)]), Vec::new());
    UnverifiedChain::parse(chain)
        .and_then(|chain| chain.validate(&trust, &Demand::at(now)))
        .map_err(ProvisionError::Certificate)
}

/// Refuses a chain that ends with another key.
pub(super) fn require_key(
    chain: &ValidatedChain,
    key: &VerifyingKey,
) -> Result<(), ProvisionError> {
    if chain.keys().signer() == Some(key) {
        return Ok(());
    }
    Err(ProvisionError::OtherKey {
        expected: key.fingerprint(),
    })
}

pub(super) fn names(usages: &[Usage]) -> Vec<String> {
    usages.iter().map(|usage| usage.as_str().into()).collect()
}
