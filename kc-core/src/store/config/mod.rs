//! A node's configuration: KafkaCrypto's `.config` file (protocol §10, §11) as bytes ↔ types.
//!
//! | type | what it is |
//! |---|---|
//! | [`Document`] | the file itself: every comment, blank line and unknown entry survives an edit |
//! | [`Name`], [`Value`] | what stands left and right of the `:` |
//! | [`NodeConfig`] | the sections of one node, on top of a document |
//! | [`KafkaSettings`] | the Kafka sections merged for one kind of client |
//! | [`ConfigStore`] | the plug-in that keeps a node's configuration between runs |
//!
//! Nothing here touches a file: a store reads the text, gives it to [`NodeConfig::parse`], and writes what
//! [`NodeConfig::render`] returns.
//!
//! ```
//! use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};
//!
//! # fn main() -> Result<(), ConfigError> {
//! let file = "; ours since 2021\n[DEFAULT]\nnode_id : n1\n\n[n1-crypto]\nmaxage : 86400\n";
//! let mut config = NodeConfig::parse(file)?;
//! assert_eq!(config.load_value(Section::CRYPTO, "maxage")?, Some(Value::Int(86400)));
//!
//! config.set(Section::CRYPTO, "maxage", &Value::Int(3600))?;
//! assert_eq!(
//!     config.render().as_str(),
//!     "; ours since 2021\n[DEFAULT]\nnode_id : n1\n\n[n1-crypto]\nmaxage : 3600\n\n"
//! );
//! # Ok(())
//! # }
//! ```

mod document;
mod error;
mod kafka;
mod migration;
mod name;
mod node;
mod section;
mod store;
#[cfg(test)]
mod tests;
mod value;

pub use document::Document;
pub use error::ConfigError;
pub use kafka::{KafkaSettings, KafkaUse, kafka_sections};
pub use migration::{Migrated, NodeRole};
pub use name::Name;
pub use node::{Inherit, NodeConfig, Setting};
pub use section::Section;
pub use store::{ConfigStore, ConfigStoreError};
pub use value::Value;
