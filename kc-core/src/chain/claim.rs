use super::{Certificate, ChainError, UnverifiedChain};
use crate::keys::{KeyType, VerifyingKey};

impl UnverifiedChain<'_> {
    /// The signing key that the chain certifies, if whoever signed its first certificate is to be trusted:
    /// all other signatures are verified. For those who pass a chain on; it proves nothing.
    ///
    /// # Errors
    /// The checks C02 and C05 to C10.
    pub fn claimed_key(&self) -> Result<VerifyingKey, ChainError> {
        let (first, rest) = self.links().split_first().ok_or(ChainError::Length(0))?;
        let mut key = signer_of(&signed_by_unknown(first)?, 0)?;
        for (index, link) in (1..).zip(rest) {
            let certificate = key.verify(link).map_err(|_| ChainError::Signature(index))?;
            key = signer_of(&Certificate::parse(certificate)?, index)?;
        }
        Ok(key)
    }
}

/// What is signed by a key of a type that is not known: one of the signatures' lengths leaves a certificate.
fn signed_by_unknown(link: &[u8]) -> Result<Certificate<'_>, ChainError> {
    let read = |key_type: KeyType| {
        let certificate = link.get(key_type.signature_len()..);
        Certificate::parse(certificate.unwrap_or_default())
    };
    read(KeyType::Ed25519).or_else(|refusal| read(KeyType::Hybrid).map_err(|_| refusal))
}

fn signer_of(certificate: &Certificate<'_>, index: usize) -> Result<VerifyingKey, ChainError> {
    let key = certificate.keys.signer().cloned();
    key.ok_or(ChainError::NotASigner(index + 1))
}
