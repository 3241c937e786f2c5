//! The migration of entries that old versions wrote.

use super::{ConfigError, Name, NodeConfig, Section, Value};

/// The role of the node. It determines which old entries are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// A producer, a consumer, or both.
    Node,
    /// A controller. Old versions listed the provisioners that it trusts in a separate section.
    Controller,
}

/// The number of entries that were moved or dropped. If the number is 0, the configuration has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Migrated(pub usize);

impl NodeConfig {
    /// Moves the entries of old versions:
    ///
    /// | from | to |
    /// |---|---|
    /// | crypto `rot`, `chainrot` | allowlist, same name; a `chainrot` that repeats `rot` is dropped |
    /// | crypto `chain` | chains `chain0` |
    /// | provisioners, any name (controllers only) | allowlist, named `base64#` of the SHA-256 of the entry |
    ///
    /// No entry is overwritten. If another entry of the allowlist already has the new name of a root of trust, the root
    /// is added under the name `base64#` of its SHA-256. If there is already an entry `chain0`, the entry `chain` stays
    /// in the crypto section. Entries whose values are not valid base64 stay where they are. Entries that the crypto
    /// section inherits from `[DEFAULT]` are copied, and also stay in `[DEFAULT]`.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
    pub fn migrate(&mut self, role: NodeRole) -> Result<Migrated, ConfigError> {
        let mut moved = 0;
        let rot = self.legacy_bytes("rot")?;
        if let Some(root) = &rot {
            let has_moved = self.move_root(Section::CRYPTO, &"rot".into(), "rot".into(), root)?;
            moved += usize::from(has_moved);
        }
        if let Some(root) = self.legacy_bytes("chainrot")? {
            let has_moved = if rot.as_ref() == Some(&root) {
                self.remove(Section::CRYPTO, "chainrot")
            } else {
                self.move_root(
                    Section::CRYPTO,
                    &"chainrot".into(),
                    "chainrot".into(),
                    &root,
                )?
            };
            moved += usize::from(has_moved);
        }
        if let Some(chain) = self.legacy_bytes("chain")?
            && self.load_text(Section::CHAINS, "chain0")?.is_none()
        {
            self.set(Section::CHAINS, "chain0", &Value::Bytes(chain))?;
            self.remove(Section::CRYPTO, "chain");
            moved += 1;
        }
        if role == NodeRole::Controller {
            for setting in self.own_settings(Section::PROVISIONERS)? {
                if let Some(Value::Bytes(root)) = setting.value() {
                    let has_moved = self.move_root(
                        Section::PROVISIONERS,
                        &setting.name,
                        Name::of_entry(&root),
                        &root,
                    )?;
                    moved += usize::from(has_moved);
                }
            }
        }
        Ok(Migrated(moved))
    }

    fn legacy_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ConfigError> {
        Ok(match self.load_value(Section::CRYPTO, name)? {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        })
    }

    /// Moves a root of trust to the allowlist. Returns whether anything changed.
    fn move_root(
        &mut self,
        from: Section<'_>,
        old: &Name,
        wanted: Name,
        root: &[u8],
    ) -> Result<bool, ConfigError> {
        let root_value = Value::from(root);
        let taken = self
            .own_settings(Section::ALLOWLIST)?
            .into_iter()
            .find(|setting| setting.name == wanted);
        let name = match taken {
            Some(other) if other.value().as_ref() != Some(&root_value) => Name::of_entry(root),
            _ => wanted,
        };
        let is_new = self.set(Section::ALLOWLIST, name, &root_value)?;
        let was_there = self.remove(from, old);
        Ok(is_new || was_there)
    }
}
