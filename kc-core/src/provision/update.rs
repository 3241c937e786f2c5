use rand_core::CryptoRng;

use super::certificate::names;
use crate::chain::{
    ChainError, Constraints, MaxAge, TrustEntry, TrustList, UnverifiedChain, encode_certificate,
    encode_chain,
};
use crate::keys::{KeyError, Signer};
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
