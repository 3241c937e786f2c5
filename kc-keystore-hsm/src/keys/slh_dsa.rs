//! SLH-DSA-SHAKE-128f signing keys on the token (FIPS 205). The mechanism is `CKM_SLH_DSA`, pure, with an empty
//! context. Signatures are hedged if the token supports this.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle, SlhDsaParameterSetType};
use kc_core::keys::SlhDsaHalf;

use super::{Halves, Pair, bad, ensure_pair, find_pair, generate_pair, import_pair};
use crate::HsmError;
use crate::token::{LoggedIn, Wanted};

const PARAMETERS: SlhDsaParameterSetType = SlhDsaParameterSetType::SHAKE_128F;

pub(crate) fn find(token: &LoggedIn<'_>, label: &str) -> Result<Option<Pair>, HsmError> {
    find_pair(token, label, read_public)
}

/// Returns the signature (17088 bytes) without the message.
pub(crate) fn sign(
    token: &LoggedIn<'_>,
    key: &Wanted,
    message: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let context = SignAdditionalContext::new(HedgeType::Preferred, None);
    token
        .session
        .sign(&Mechanism::SlhDsa(context), token.find(key)?, message)
        .map_err(HsmError::call("sign"))
}

/// Returns the public half of the pair with this label. Generates the pair on the token if it does not exist.
pub(crate) fn ensure(token: &LoggedIn<'_>, label: &str) -> Result<[u8; 32], HsmError> {
    let (action, mechanism) = ("generate an SLH-DSA key", Mechanism::SlhDsaKeyPairGen);
    let draw = || generate_pair(token, label, action, &mechanism, parameters(), read_public);
    ensure_pair(token, label, read_public, draw)
}

/// Imports a pair to the token, unless the token has it already. Returns [`HsmError::ObjectExists`] if the token has
/// another pair with this label.
pub(crate) fn import(token: &LoggedIn<'_>, label: &str, key: &SlhDsaHalf) -> Result<(), HsmError> {
    let public = key.public();
    let halves = Halves {
        kind: [Attribute::KeyType(KeyType::SLH_DSA), parameters()],
        public: Attribute::Value(public.to_vec()),
        private: key.expose_private_key().expose().to_vec().into(),
    };
    import_pair(token, label, &public, read_public, halves)
}

fn parameters() -> Attribute {
    Attribute::ParameterSet(PARAMETERS.into())
}

fn read_public(
    token: &LoggedIn<'_>,
    object: ObjectHandle,
    label: &str,
) -> Result<[u8; 32], HsmError> {
    let found = token.attributes(object, &[AttributeType::Value])?;
    let public = match found.first() {
        Some(Attribute::Value(public)) => public.as_slice(),
        _ => &[],
    };
    public
        .try_into()
        .map_err(|_| bad(label, "its public half is not an SLH-DSA key"))
}
