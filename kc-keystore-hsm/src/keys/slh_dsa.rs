//! SLH-DSA-SHAKE-128f: `CKM_SLH_DSA`, pure, empty context, hedged if the token can.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle, SlhDsaParameterSetType};
use kc_core::keys::SlhDsaHalf;

use super::{Pair, bad, complete_pair, create_pair, find_pair, hidden, id_of, visible};
use crate::HsmError;
use crate::token::{LoggedIn, Wanted};

const PARAMETERS: SlhDsaParameterSetType = SlhDsaParameterSetType::SHAKE_128F;

pub(crate) fn find(token: &LoggedIn<'_>, label: &str) -> Result<Option<Pair>, HsmError> {
    find_pair(token, label, read_public)
}

/// The signature, 17088 bytes, without the message.
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

/// Draws a pair on the token.
pub(crate) fn generate(token: &LoggedIn<'_>, label: &str) -> Result<(), HsmError> {
    let mut public = visible(label);
    public.push(Attribute::ParameterSet(PARAMETERS.into()));
    let mut private = hidden(label);
    private.push(Attribute::Sign(true));
    let pair = token
        .session
        .generate_key_pair(&Mechanism::SlhDsaKeyPairGen, &public, &private)
        .map_err(HsmError::call("generate an SLH-DSA key"))?;
    complete_pair(token, pair, || read_public(token, pair.0, label))
}

/// Puts a pair onto the token.
pub(crate) fn import(token: &LoggedIn<'_>, label: &str, key: &SlhDsaHalf) -> Result<(), HsmError> {
    let public = key.public();
    let shared = [
        Attribute::KeyType(KeyType::SLH_DSA),
        Attribute::ParameterSet(PARAMETERS.into()),
        Attribute::Id(id_of(&public).to_vec()),
    ];
    let mut visible = visible(label);
    visible.extend(shared.iter().cloned());
    visible.push(Attribute::Value(public.to_vec()));
    let mut hidden = hidden(label);
    hidden.extend(shared);
    hidden.push(Attribute::Sign(true));
    hidden.push(Attribute::Value(key.expose_private_key().expose().to_vec()));
    create_pair(token, visible, hidden)
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
        .map_err(|_| bad(label, "its public half is no SLH-DSA key"))
}
