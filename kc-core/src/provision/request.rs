use rand_core::CryptoRng;

use super::certificate::{certificate, names};
use super::{ProvisionError, Provisioner, self_revocation};
use crate::chain::{ANYTHING, Certificate, Constraints, MaxAge};
use crate::keys::{KeyError, Signer};

/// How many certificates may follow a provisioner's: a node's, and its request or reply.
const PROVISIONER_PATH_LENGTH: i64 = 2;

/// A provisioner that waits for the root of trust to certify it.
#[derive(Clone, Debug)]
pub struct ProvisionerRequest {
    /// The certificate for the root to [sign](sign_request): its usages, all topics, path length 2,
    /// without end.
    pub to_sign: Vec<u8>,
    /// Its [`self_revocation`], to be kept for the day on which its key gets known.
    pub self_revocation: Vec<u8>,
}

/// What a provisioner asks of the root of trust. Its key is [derived](super::derive_provisioner) from the provisioning
/// password, or on a token.
///
/// # Errors
/// [`KeyError`] if the signer fails.
pub fn request_provisioner(
    provisioner: Provisioner,
    key: &dyn Signer,
    rng: &mut dyn CryptoRng,
) -> Result<ProvisionerRequest, KeyError> {
    let constraints = Constraints {
        usages: Some(names(provisioner.usages())),
        topics: Some(vec![ANYTHING.into()]),
        path_length: Some(PROVISIONER_PATH_LENGTH),
    };
    Ok(ProvisionerRequest {
        to_sign: certificate(MaxAge::UNLIMITED, &constraints, key.verifying_key()),
        self_revocation: self_revocation(key, rng)?,
    })
}

/// The root of trust certifies what a provisioner or a node asks for: gives the signature, then the
/// certificate. What it grants is for a person to look at first; see [`Certificate::parse`].
///
/// # Errors
/// [`ProvisionError::Request`] and [`ProvisionError::NotARequest`], so that a root never signs anything
/// but a certificate for a signing key; [`ProvisionError::Signing`].
pub fn sign_request(
    root: &dyn Signer,
    to_sign: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, ProvisionError> {
    let certificate = Certificate::parse(to_sign).map_err(ProvisionError::Request)?;
    if certificate.keys.signer().is_none() || !certificate.extra.is_empty() {
        return Err(ProvisionError::NotARequest);
    }
    Ok(root.sign(to_sign, rng)?)
}
