//! Keys derived from passwords.

use kc_core::chain::TrustEntry;
use kc_core::keys::{Signer, VerifyingKey};
use kc_core::provision::{DerivedKey, Provisioner, derive_provisioner, derive_root};
use serde::{Deserialize, Serialize};

use super::key_type;
use crate::operation::{Context, Invalid, Outcome, refuse};
use crate::values::Hex;

/// The limits of libsodium, which are the limits of kc, too.
const LIMITS: [u64; 2] = [524_288, 16_777_216];

fn check_limits(given: [Option<u64>; 2]) -> Result<(), Invalid> {
    let differ = |(given, limit): (Option<u64>, u64)| given.is_some_and(|given| given != limit);
    match given.into_iter().zip(LIMITS).any(differ) {
        true => Err(Invalid::new(
            "scrypt has other limits than the interactive ones",
        )),
        false => Ok(()),
    }
}

input! {
    struct Root {
        password: String, keytype: i64, scrypt_opslimit: Option<u64>, scrypt_memlimit: Option<u64>,
    }
}

output! {
    struct Derived { salt: Hex, seed: Hex, public: Hex, secret: Hex, root_entry: Option<Hex> }
}

impl From<&DerivedKey> for Derived {
    fn from(derived: &DerivedKey) -> Self {
        Self {
            salt: derived.salt.into(),
            seed: derived.seed.expose().into(),
            public: derived.key.verifying_key().to_bytes().into(),
            secret: derived.key.expose_bytes().expose().into(),
            root_entry: None,
        }
    }
}

impl Root {
    pub(super) fn run(&self, _: &Context) -> Outcome<Derived> {
        check_limits([self.scrypt_opslimit, self.scrypt_memlimit])?;
        let derived = derive_root(self.password.as_bytes(), key_type(self.keytype)?);
        let derived = derived.map_err(refuse)?;
        let entry = TrustEntry::unrestricted(derived.key.verifying_key());
        Ok(Derived {
            root_entry: Some(entry.as_bytes().into()),
            ..Derived::from(&derived)
        })
    }
}

input! {
    struct Provisioners {
        password: String, root_public: Hex, keytype: i64, scrypt_opslimit: Option<u64>,
        scrypt_memlimit: Option<u64>,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByProvisioner<T> {
    producer: T,
    consumer: T,
    prodcon: T,
}

impl<T> ByProvisioner<T> {
    /// Returns a result for each provisioner, in their order.
    pub(super) fn each<E>(mut of: impl FnMut(Provisioner) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            producer: of(Provisioner::Producer)?,
            consumer: of(Provisioner::Consumer)?,
            prodcon: of(Provisioner::Prodcon)?,
        })
    }

    pub(super) fn of(&self, provisioner: Provisioner) -> &T {
        match provisioner {
            Provisioner::Producer => &self.producer,
            Provisioner::Consumer => &self.consumer,
            Provisioner::Prodcon => &self.prodcon,
        }
    }
}

impl Provisioners {
    pub(super) fn run(&self, _: &Context) -> Outcome<ByProvisioner<Derived>> {
        check_limits([self.scrypt_opslimit, self.scrypt_memlimit])?;
        let key_type = key_type(self.keytype)?;
        let root = VerifyingKey::from_bytes(&self.root_public).map_err(refuse)?;
        ByProvisioner::each(|provisioner| {
            let password = self.password.as_bytes();
            let derived = derive_provisioner(password, provisioner, &root, key_type);
            Ok(Derived::from(&derived.map_err(refuse)?))
        })
    }
}
