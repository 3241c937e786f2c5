use kc::core::keys::VerifyingKey;
use kc::core::types::Timestamp;
use serde_json::json;

use crate::date::{date, until};
use crate::error::CliError;
use crate::ui::Ui;

/// A chain that now stands in a node's configuration.
pub(super) struct StoredChain<'a> {
    pub(super) index: usize,
    pub(super) key: &'a VerifyingKey,
    pub(super) end: Option<Timestamp>,
    /// The root of trust that came with it.
    pub(super) new_root: Option<&'a VerifyingKey>,
}

impl StoredChain<'_> {
    pub(super) fn report(&self, as_json: bool, ui: Ui) -> Result<(), CliError> {
        let (name, key) = (format!("chain{}", self.index), self.key.fingerprint());
        let new_root = self.new_root.map(VerifyingKey::fingerprint);
        if as_json {
            let expires = self.end.map(date);
            let result = json!({
                "chain": name,
                "key": key,
                "expires": expires,
                "new_root": new_root,
            });
            return ui.result(result.to_string());
        }
        ui.result(format!(
            "{name} certifies key {key}, valid {}",
            until(self.end)
        ))?;
        match new_root {
            Some(root) => ui.result(format!(
                "root of trust {root} is new, and trusted from now on"
            )),
            None => Ok(()),
        }
    }
}
