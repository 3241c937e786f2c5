use super::{Certificate, ChainError, UnverifiedChain};
use crate::keys::VerifyingKey;

impl UnverifiedChain<'_> {
    /// The signing key that the last certificate names, before anything is verified: to pass over what is known
    /// without looking at signatures.
    #[must_use]
    pub fn peek_key(&self) -> Option<VerifyingKey> {
        let last = Certificate::parse_signed(self.links().last()?).ok()?;
        last.keys.signer().cloned()
    }

    /// The signing key that signed the last certificate, as the one before names it, before anything is verified.
    #[must_use]
    pub fn peek_signer(&self) -> Option<VerifyingKey> {
        let (_, before) = self.links().split_last()?;
        let certificate = Certificate::parse_signed(before.last()?).ok()?;
        certificate.keys.signer().cloned()
    }

    /// The signing key that the chain certifies, if whoever signed its first certificate is to be trusted:
    /// all other signatures are verified. For those who pass a chain on; it proves nothing.
    ///
    /// # Errors
    /// The checks C02 and C05 to C10.
    pub fn claimed_key(&self) -> Result<VerifyingKey, ChainError> {
        let (first, rest) = self.links().split_first().ok_or(ChainError::Length(0))?;
        let mut key = signer_of(&Certificate::parse_signed(first)?, 0)?;
        for (index, link) in (1..).zip(rest) {
            let certificate = key.verify(link).map_err(|_| ChainError::Signature(index))?;
            key = signer_of(&Certificate::parse(certificate)?, index)?;
        }
        Ok(key)
    }
}

fn signer_of(certificate: &Certificate<'_>, index: usize) -> Result<VerifyingKey, ChainError> {
    let key = certificate.keys.signer().cloned();
    key.ok_or(ChainError::NotASigner(index + 1))
}
