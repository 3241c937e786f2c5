//! Generates AES-256 keys on the token, and uses these keys to seal and open values with AES-256-GCM.
//!
//! All sealed blobs of this crate have the form `header ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)`. The header
//! is authenticated as associated data. Nonces are random, so one key may seal at most 2^32 values (NIST SP 800-38D).

use std::ffi::c_ulong;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::types::Ulong;
use kc_core::secret::SecretVec;

use crate::HsmError;
use crate::keys::hidden;
use crate::random::random;
use crate::token::LoggedIn;

const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// The return value of PKCS#11 3.0 for a wrong authentication tag. The crate `cryptoki` does not define this value.
const CKR_AEAD_DECRYPT_FAILED: c_ulong = 0x42;
const TAG_BITS: Ulong = Ulong::new(128);

/// Seals `plaintext` with `key` and returns the blob, which begins with `header`.
pub(crate) fn seal(
    token: &LoggedIn<'_>,
    key: ObjectHandle,
    header: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let failed = HsmError::call("seal a value");
    let mut nonce = random::<NONCE_LEN>()?;
    let params = GcmParams::new(&mut nonce, header, TAG_BITS).map_err(&failed)?;
    let mechanism = Mechanism::AesGcm(params);
    let sealed = token.session.encrypt(&mechanism, key, plaintext);
    let sealed = sealed.map_err(&failed)?;
    // Read the nonce after the call: some tokens choose a nonce themselves and write it into this buffer.
    Ok([header, &nonce, &sealed].concat())
}

/// Opens a blob whose header is `header_len` bytes long.
///
/// # Errors
/// Returns [`HsmError::Unauthentic`] if the blob is too short or its tag is wrong; `what` names the value in this
/// error. Returns other errors if the token fails.
pub(crate) fn open(
    token: &LoggedIn<'_>,
    key: ObjectHandle,
    header_len: usize,
    blob: &[u8],
    what: &'static str,
) -> Result<SecretVec, HsmError> {
    let unauthentic = || HsmError::Unauthentic { what };
    let (header, rest) = blob.split_at_checked(header_len).ok_or_else(unauthentic)?;
    let (nonce, sealed) = rest.split_first_chunk().ok_or_else(unauthentic)?;
    if sealed.len() < TAG_LEN {
        return Err(unauthentic());
    }
    match decrypt(token, key, header, *nonce, sealed) {
        Err(error) if error.says_unauthentic() && works(token, key)? => Err(unauthentic()),
        result => result,
    }
}

fn decrypt(
    token: &LoggedIn<'_>,
    key: ObjectHandle,
    header: &[u8],
    mut nonce: [u8; NONCE_LEN],
    sealed: &[u8],
) -> Result<SecretVec, HsmError> {
    let failed = HsmError::call("open a sealed value");
    let params = GcmParams::new(&mut nonce, header, TAG_BITS).map_err(&failed)?;
    let opened = token
        .session
        .decrypt(&Mechanism::AesGcm(params), key, sealed);
    Ok(SecretVec::from(opened.map_err(&failed)?))
}

/// Returns whether the key can open a value that it has just sealed. Tokens report a wrong tag by errors that also have
/// other meanings. This check distinguishes an altered value from a token that fails.
pub(crate) fn works(token: &LoggedIn<'_>, key: ObjectHandle) -> Result<bool, HsmError> {
    const HEADER: &[u8] = b"KCT1";
    let sealed = seal(token, key, HEADER, HEADER)?;
    let Some((nonce, sealed)) = sealed
        .get(HEADER.len()..)
        .and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(false);
    };
    Ok(decrypt(token, key, HEADER, *nonce, sealed)?.expose() == HEADER)
}

impl HsmError {
    /// Returns whether a token may report a wrong tag by this error. SoftHSM returns `GeneralError`.
    fn says_unauthentic(&self) -> bool {
        use RvError as Rv;
        let Self::Token { source, .. } = self else {
            return false;
        };
        source.value().is_some_and(|value| {
            matches!(
                value,
                Rv::GeneralError
                    | Rv::EncryptedDataInvalid
                    | Rv::EncryptedDataLenRange
                    | Rv::FunctionFailed
                    | Rv::DataInvalid
                    | Rv::SignatureInvalid
                    | Rv::UnknownErrorCode(CKR_AEAD_DECRYPT_FAILED)
            )
        })
    }
}

/// Generates an AES-256 key on the token. The key can encrypt and decrypt values, but cannot wrap or unwrap other keys.
pub(crate) fn generate_aes(
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
