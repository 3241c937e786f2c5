use rand_core::CryptoRng;

use super::issuer::names;
use crate::chain::{
    ChainError, Constraints, MaxAge, TrustEntry, TrustList, UnverifiedChain, Usage,
    encode_certificate, encode_chain,
};
use crate::keys::{KeyError, Signer, VerifyingKey};
use crate::wire::Writer;

/// Makes a message for the topic of the allowlist or the denylist (protocol §8). The message adds `entry` to this
/// list. Nodes accept the message until `max_age`.
///
/// If `signer_chain` is `None`, `signer` must be the key of a root of trust. Otherwise `signer` must be the last key of
/// `signer_chain`, and this chain must grant the usage of the list ([`TrustList::usage`]).
///
/// # Errors
/// Returns a [`ChainError`] if the chain cannot be parsed, the entry is not for exactly one signing key, or the signer
/// fails.
pub fn compose_update(
    list: TrustList,
    entry: &TrustEntry,
    max_age: MaxAge,
    (signer, signer_chain): (&dyn Signer, Option<&[u8]>),
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, ChainError> {
    let key = entry.key().ok_or(ChainError::Key(KeyError::EmptyList))?;
    let constraints = Constraints {
        usages: Some(names(&[list.usage()])),
        ..Constraints::default()
    };
    let certificate = encode_certificate(
        max_age,
        &constraints.encode(),
        |writer| key.write_to(writer),
        (1, |writer: &mut Writer| {
            writer.bytes(entry.as_bytes());
        }),
    );
    let link = signer.sign(&certificate, rng)?;
    match signer_chain {
        Some(signers) => Ok(UnverifiedChain::parse(signers)?.extended(&link)),
        None => Ok(encode_chain(&[&link])),
    }
}

/// Makes a self-revocation (protocol §6): a message for the denylist topic in which a key denies itself.
///
/// The message needs no signature of a root of trust. It does not expire, and the revocation cannot be undone.
///
/// # Errors
/// Returns a [`KeyError`] if the signer fails.
pub fn self_revocation(signer: &dyn Signer, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
    let entry = TrustEntry::unrestricted(signer.verifying_key());
    sign_revocation(signer, Some(&entry), rng)
}

/// Makes the self-revocation that the peers' tool makes for provisioners. It lacks the entry for the denylist.
///
/// The message is a valid chain, but the peers ignore it in the denylist topic. To revoke a key, use
/// [`self_revocation`].
///
/// # Errors
/// Returns a [`KeyError`] if the signer fails.
#[cfg(feature = "vectors")]
pub fn self_revocation_without_entry(
    signer: &dyn Signer,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    sign_revocation(signer, None, rng)
}

fn sign_revocation(
    signer: &dyn Signer,
    entry: Option<&TrustEntry>,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    let key = signer.verifying_key();
    let outer = denial(key, 1, None);
    let inner = signer.sign(&denial(key, 0, entry), rng)?;
    Ok(encode_chain(&[&outer, &inner]))
}

fn denial(key: &VerifyingKey, path_length: i64, entry: Option<&TrustEntry>) -> Vec<u8> {
    let constraints = Constraints {
        usages: Some(names(&[Usage::Denylist])),
        topics: None,
        path_length: Some(path_length),
    };
    let write_entry = |writer: &mut Writer| {
        if let Some(entry) = entry {
            writer.bytes(entry.as_bytes());
        }
    };
    encode_certificate(
        MaxAge::UNLIMITED,
        &constraints.encode_usages_first(),
        |writer| key.write_to(writer),
        (usize::from(entry.is_some()), write_entry),
    )
}
