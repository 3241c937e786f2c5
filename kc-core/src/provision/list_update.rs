use rand_core::CryptoRng;

use super::issuer::names;
use crate::chain::{
    ChainError, Constraints, MaxAge, TrustEntry, TrustList, UnverifiedChain, Usage,
    encode_certificate, encode_chain,
};
use crate::keys::{KeyError, Signer, VerifyingKey};
use crate::wire::Writer;

/// Makes a message for a list's topic (protocol §8) that brings `entry` onto the list: signed by a root of
/// trust if there is no `signer_chain`, else by the key that the chain certifies for the list's usage. Nodes
/// take it until `max_age`.
///
/// # Errors
/// [`ChainError`] if the chain cannot be read, the entry is not for a single key, or the signer fails.
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

/// The chain by which a key denies itself (protocol §6): a message for the denylist topic that needs no
/// root of trust and does not expire. Nobody can take it back.
///
/// # Errors
/// [`KeyError`] if the signer fails.
pub fn self_revocation(signer: &dyn Signer, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
    let entry = TrustEntry::unrestricted(signer.verifying_key());
    sign_revocation(signer, Some(&entry), rng)
}

/// A self-revocation as the peers' tool prints it for provisioners. It lacks the entry for the denylist:
/// it validates, but on the denylist topic the peers pass it over. To revoke a key, take
/// [`self_revocation`].
///
/// # Errors
/// [`KeyError`] if the signer fails.
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
