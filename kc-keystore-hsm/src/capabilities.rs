use std::fmt;

use cryptoki::mechanism::MechanismType;
use kc_core::keys::KeyType;

use crate::module::locate;
use crate::patience::Asking;
use crate::{HsmError, Pkcs11Uri};

/// A table of the mechanisms that nodes use, which shows whether the token has each of them. `Display` prints the
/// table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    rows: Vec<Capability>,
}

/// One mechanism in the table of [`Capabilities`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// The name of the mechanism in the PKCS#11 standard.
    pub mechanism: &'static str,
    /// The purpose for which a node uses the mechanism.
    pub purpose: &'static str,
    /// `true` if every node needs the mechanism.
    pub required: bool,
    /// `true` if the token has the mechanism.
    pub present: bool,
}

const NEEDS: &[(MechanismType, &str, &str, bool)] = &[
    (MechanismType::EDDSA, "CKM_EDDSA", "signing", true),
    (
        MechanismType::AES_GCM,
        "CKM_AES_GCM",
        "sealing the ratchet and values of the configuration",
        true,
    ),
    (
        MechanismType::AES_KEY_GEN,
        "CKM_AES_KEY_GEN",
        "generating the keys that seal the ratchet and these values",
        true,
    ),
    (
        MechanismType::ECC_EDWARDS_KEY_PAIR_GEN,
        "CKM_EC_EDWARDS_KEY_PAIR_GEN",
        "generating a signing key on the token (without this mechanism, a key can only be imported)",
        false,
    ),
    (
        MechanismType::SLH_DSA,
        "CKM_SLH_DSA",
        "post-quantum signing on the token (without this mechanism, the key is kept outside, sealed by the token)",
        false,
    ),
    (
        MechanismType::SLH_DSA_KEY_PAIR_GEN,
        "CKM_SLH_DSA_KEY_PAIR_GEN",
        "generating a post-quantum key on the token (without this mechanism, a new key is kept outside, sealed by the token)",
        false,
    ),
];

impl Capabilities {
    /// Returns the capabilities of the token that a URI names. No PIN is needed.
    ///
    /// # Errors
    /// Returns [`HsmError::Uri`] if the URI names no module; [`HsmError::ModuleMissing`], [`HsmError::NotAModule`] or
    /// [`HsmError::ModuleFailed`] if the module cannot be loaded; [`HsmError::TokenMissing`] or
    /// [`HsmError::TokenAmbiguous`] unless exactly one token matches; and [`HsmError::Gone`] or [`HsmError::Token`] if
    /// the module does not list its tokens or mechanisms.
    pub fn of(uri: &Pkcs11Uri) -> Result<Self, HsmError> {
        Self::ask(uri).map_err(HsmError::given_up_if_lost)
    }

    fn ask(uri: &Pkcs11Uri) -> Result<Self, HsmError> {
        let _asking = Asking::start();
        let (module, slot, _) = locate(uri)?;
        let has = module
            .get_mechanism_list(slot)
            .map_err(HsmError::call("list the mechanisms"))?;
        let rows = NEEDS
            .iter()
            .map(|(mechanism, name, purpose, required)| Capability {
                mechanism: name,
                purpose,
                required: *required,
                present: has.contains(mechanism),
            });
        Ok(Self {
            rows: rows.collect(),
        })
    }

    /// Returns the rows of the table.
    #[must_use]
    pub fn rows(&self) -> &[Capability] {
        &self.rows
    }

    /// Checks that the token has every mechanism that all nodes need.
    ///
    /// # Errors
    /// Returns [`HsmError::Lacks`] with the names of the missing mechanisms, if the token lacks any of them.
    pub fn require(&self) -> Result<(), HsmError> {
        let lacking = self.rows.iter().filter(|row| row.required && !row.present);
        self.require_none(lacking.map(|row| row.mechanism).collect())
    }

    /// Checks that the token has one mechanism of the table.
    pub(crate) fn require_one(&self, mechanism: &'static str) -> Result<(), HsmError> {
        let lacking = [mechanism].into_iter().filter(|name| !self.has(name));
        self.require_none(lacking.collect())
    }

    fn require_none(&self, lacking: Vec<&'static str>) -> Result<(), HsmError> {
        if lacking.is_empty() {
            return Ok(());
        }
        Err(HsmError::Lacks {
            mechanisms: lacking,
            table: self.clone(),
        })
    }

    /// Returns whether the token holds a new signing key of this type as a whole. This is always `true` for an Ed25519
    /// key. It is `false` for a hybrid key if the token cannot generate SLH-DSA keys or sign with them. The token then
    /// holds the Ed25519 half of the key and seals the SLH-DSA half.
    #[must_use]
    pub fn holds(&self, key_type: KeyType) -> bool {
        match key_type {
            KeyType::Ed25519 => true,
            KeyType::Hybrid => self.has("CKM_SLH_DSA") && self.has("CKM_SLH_DSA_KEY_PAIR_GEN"),
        }
    }

    /// Returns whether the token has one mechanism of the table.
    pub(crate) fn has(&self, mechanism: &str) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| row.mechanism == mechanism && row.present)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let state = match (row.present, row.required) {
                (true, _) => "yes",
                (false, true) => "MISSING",
                (false, false) => "no",
            };
            writeln!(f, "{:<28} {state:<8} {}", row.mechanism, row.purpose)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(present: bool) -> Capabilities {
        let row = |mechanism, required, present| Capability {
            mechanism,
            purpose: "this",
            required,
            present,
        };
        Capabilities {
            rows: vec![
                row("CKM_EDDSA", true, present),
                row("CKM_SLH_DSA", false, false),
            ],
        }
    }

    #[test]
    fn only_what_is_required_may_not_lack() {
        assert!(table(true).require().is_ok());
        let error = table(false).require().unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("the token lacks CKM_EDDSA\n"), "{shown}");
        assert!(shown.contains("MISSING"), "{shown}");
    }

    #[test]
    fn the_table_shows_what_lacks() {
        let shown = table(false).to_string();
        assert_eq!(
            shown,
            "CKM_EDDSA                    MISSING  this\nCKM_SLH_DSA                  no       this\n"
        );
    }
}
