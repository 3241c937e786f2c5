//! An engine that shows where a token would stand, for samples without a node.

use async_trait::async_trait;

use super::{Engine, Field};
use crate::error::Fault;
use crate::json::quote;

/// Replaces each value by a text that names the engine and its key.
#[derive(Debug)]
pub(crate) struct Placeholder {
    pub(crate) engine: &'static str,
    pub(crate) key: String,
}

#[async_trait]
impl Engine for Placeholder {
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let shown = quote(&format!("<{} {}>", self.engine, self.key));
        fields.iter().map(|_| Ok(shown.clone())).collect()
    }

    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let refused = Fault::Unsupported("a cipher for samples does not decrypt".into());
        fields.iter().map(|_| Err(refused.clone())).collect()
    }
}
