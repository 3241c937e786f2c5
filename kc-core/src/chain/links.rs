use std::collections::HashMap;

use crate::hash::sha256;
use crate::keys::{SignatureError, VerifyingKey};

/// How many verified certificates are remembered.
pub const MAX_VERIFIED: usize = 1024;

/// The certificates whose signature verified under a trusted key, so that the chains of the same nodes are not
/// verified again and again. Validity and the lists are looked at each time: only the signature is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct VerifiedLinks {
    /// When each was last used, by the hash of its signer and itself.
    used: HashMap<[u8; 32], u64>,
    uses: u64,
}

impl VerifiedLinks {
    /// Verifies a signed certificate, unless that has been done.
    pub(super) fn verify<'a>(
        &mut self,
        key: &VerifyingKey,
        link: &'a [u8],
    ) -> Result<&'a [u8], SignatureError> {
        let id = sha256(&[&key.short_hash(), link]);
        self.uses += 1;
        if let Some(used) = self.used.get_mut(&id) {
            *used = self.uses;
            return link
                .get(key.key_type().signature_len()..)
                .ok_or(SignatureError);
        }
        let message = key.verify(link)?;
        if self.used.len() >= MAX_VERIFIED {
            let oldest = self.used.iter().min_by_key(|(_, used)| **used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.used.remove(&oldest);
            }
        }
        self.used.insert(id, self.uses);
        Ok(message)
    }
}
