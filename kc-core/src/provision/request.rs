use rand_core::CryptoRng;

use super::certificate::{certificate, names};
use super::{ProvisionError, Provisioner, derive_provisioner, self_revocation};
use crate::chain::{ANYTHING, Certificate, Constraints, MaxAge};
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};

/// How many certificates may follow a provisioner's: a node's, and its request or reply.
const PROVISIONER_PATH_LENGTH: i64 = 2;

/// A provisioner that waits for the root of trust to certify it.
#[derive(Debug)]
pub struct ProvisionerRequest {
    /// Which provisioner.
    pub provisioner: Provisioner,
    /// Its signing key, which the provisioning password gives again.
    pub key: SigningKey,
    /// The certificate for the root to [sign](sign_request): its usages, all topics, path length 2,
    /// without end.
    pub to_sign: Vec<u8>,
    /// Its [`self_revocation`], to be kept for the day on which the provisioning password gets known.
    pub self_revocation: Vec<u8>,
}

/// The provisioners of a provisioning password under a root of trust, of which the public key is enough.
///
/// # Errors
/// [`ProvisionError::Derivation`], [`ProvisionError::Signing`].
pub fn request_provisioners(
    password: &[u8],
    root: &VerifyingKey,
    key_type: KeyType,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<ProvisionerRequest>, ProvisionError> {
    let request = |provisioner| {
        let key = derive_provisioner(password, provisioner, root, key_type)?.key;
        let constraints = Constraints {
            usages: Some(names(provisioner.usages())),
            topics: Some(vec![ANYTHING.into()]),
            path_length: Some(PROVISIONER_PATH_LENGTH),
        };
        Ok(ProvisionerRequest {
            provisioner,
            to_sign: certificate(MaxAge::UNLIMITED, &constraints, key.verifying_key()),
            self_revocation: self_revocation(&key, rng)?,
            key,
        })
    };
    Provisioner::ALL.into_iter().map(request).collect()
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
