use rand_core::CryptoRng;

use super::certificate::names;
use crate::chain::{Constraints, MaxAge, TrustEntry, Usage, encode_certificate, encode_chain};
use crate::keys::{KeyError, Signer, VerifyingKey};
use crate::wire::Writer;

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
