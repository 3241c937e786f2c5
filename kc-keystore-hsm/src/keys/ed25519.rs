//! Ed25519 signing keys on the token: `CKM_EDDSA`, pure Ed25519 (RFC 8032).

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use kc_core::secret::Secret;

use super::{Halves, Pair, bad, ensure_pair, find_pair, generate_pair, import_pair};
use crate::HsmError;
use crate::token::{LoggedIn, Wanted};

const SIGNATURE_LEN: usize = 64;
/// The parameters of the curve: its name `edwards25519` as a DER PrintableString. SoftHSM and kryoptic accept this
/// form.
const CURVE: &[u8] = b"\x13\x0cedwards25519";
/// The DER prefix of a point: an octet string of 32 bytes.
const OCTET_STRING: [u8; 2] = [0x04, 0x20];

pub(crate) fn find(token: &LoggedIn<'_>, label: &str) -> Result<Option<Pair>, HsmError> {
    find_pair(token, label, read_public)
}

/// Returns the signature (64 bytes) without the message.
pub(crate) fn sign(
    token: &LoggedIn<'_>,
    key: &Wanted,
    message: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let scheme = EddsaParams::new(EddsaSignatureScheme::Pure);
    let signature = token
        .session
        .sign(&Mechanism::Eddsa(scheme), token.find(key)?, message)
        .map_err(HsmError::call("sign"))?;
    if signature.len() == SIGNATURE_LEN {
        Ok(signature)
    } else {
        Err(bad(&key.label, "its signatures have a wrong length"))
    }
}

/// Returns the public half of the pair with this label. Generates the pair on the token if it does not exist.
pub(crate) fn ensure(token: &LoggedIn<'_>, label: &str) -> Result<[u8; 32], HsmError> {
    let (action, mechanism) = ("generate an Ed25519 key", Mechanism::EccEdwardsKeyPairGen);
    let draw = || generate_pair(token, label, action, &mechanism, curve(), read_public);
    ensure_pair(token, label, read_public, draw)
}

/// Imports a pair to the token, unless the token has it already. Returns [`HsmError::ObjectExists`] if the token has
/// another pair with this label.
pub(crate) fn import(
    token: &LoggedIn<'_>,
    label: &str,
    seed: &Secret<32>,
    public: &[u8; 32],
) -> Result<(), HsmError> {
    let halves = Halves {
        kind: [Attribute::KeyType(KeyType::EC_EDWARDS), curve()],
        public: Attribute::EcPoint([&OCTET_STRING, &public[..]].concat()),
        private: seed.expose().to_vec().into(),
    };
    import_pair(token, label, public, read_public, halves)
}

fn curve() -> Attribute {
    Attribute::EcParams(CURVE.to_vec())
}

/// Reads the public key. Kryoptic returns a raw point, SoftHSM a DER octet string.
fn read_public(
    token: &LoggedIn<'_>,
    object: ObjectHandle,
    label: &str,
) -> Result<[u8; 32], HsmError> {
    let found = token.attributes(object, &[AttributeType::EcPoint])?;
    let point = match found.first() {
        Some(Attribute::EcPoint(point)) => point.as_slice(),
        _ => &[],
    };
    let raw = match point.strip_prefix(&OCTET_STRING) {
        Some(raw) if raw.len() == 32 => raw,
        _ => point,
    };
    raw.try_into()
        .map_err(|_| bad(label, "its public half is not an Ed25519 key"))
}
