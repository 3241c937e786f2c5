use rand_core::CryptoRng;

use super::certificate::{certificate, names, prove, require_key};
use super::{ProvisionError, Role, derive_provisioner, derive_root};
use crate::chain::{Constraints, MaxAge, encode_chain};
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use crate::types::Timestamp;

/// Who certifies a node: a provisioner, or the root of trust itself.
pub(super) struct Issuer<S> {
    /// The root of trust.
    pub(super) root: VerifyingKey,
    /// The provisioner's certificate, signed by the root; none if the root itself certifies.
    provisioner: Option<Vec<u8>>,
    key: S,
}

impl Issuer<SigningKey> {
    /// With both passwords at hand.
    pub(super) fn of_passwords(
        (role, key_type): (Role, KeyType),
        root_password: &[u8],
        provisioning_password: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ProvisionError> {
        let root = derive_root(root_password, key_type)?.key;
        let root_key = root.verifying_key().clone();
        let Some(by) = role.provisioner() else {
            return Ok(Self {
                root: root_key,
                provisioner: None,
                key: root,
            });
        };
        let key = derive_provisioner(provisioning_password, by, &root_key, key_type)?.key;
        let constraints = Constraints {
            usages: Some(names(by.usages())),
            ..Constraints::default()
        };
        let to_sign = certificate(MaxAge::UNLIMITED, &constraints, key.verifying_key());
        Ok(Self {
            root: root_key,
            provisioner: Some(root.sign(&to_sign, rng)?),
            key,
        })
    }
}

impl<S: Signer> Issuer<S> {
    /// With a provisioner's key, and what the root signed for it.
    pub(super) fn of_certificate(
        key: S,
        root: &VerifyingKey,
        signed: &[u8],
        now: Timestamp,
    ) -> Result<Self, ProvisionError> {
        let proven = prove(&encode_chain(&[signed]), root, now)?;
        require_key(&proven, key.verifying_key())?;
        Ok(Self {
            root: root.clone(),
            provisioner: Some(signed.to_vec()),
            key,
        })
    }

    /// Certifies: gives the chain from the root.
    pub(super) fn issue(
        &self,
        to_sign: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, ProvisionError> {
        let link = self.key.sign(to_sign, rng)?;
        Ok(match &self.provisioner {
            Some(provisioner) => encode_chain(&[provisioner, &link]),
            None => encode_chain(&[&link]),
        })
    }
}
