//! AES-256 keys, drawn on the token.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};

use super::hidden;
use crate::HsmError;
use crate::token::LoggedIn;

/// Draws a key that seals and opens values, and wraps no other key.
pub(crate) fn generate(
    token: &LoggedIn<'_>,
    label: &str,
    id: &[u8],
) -> Result<ObjectHandle, HsmError> {
    let mut template = hidden(label);
    template.extend([
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Id(id.to_vec()),
    ]);
    token
        .session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .map_err(HsmError::call("generate an AES key"))
}
